"""The plain records that run() hands to a mode: the assembled parts of an experiment. No behaviour."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from trainer.actions.action import Action, Context
from trainer.data.fingerprint import Fingerprint
from trainer.data.order import Order
from trainer.data.pipeline import Layout
from trainer.data.source import Splits
from trainer.distributed.ranks import Ranks
from trainer.modes.invocation import Invocation
from trainer.modes.resumption import Resumption
from trainer.step.device_loop import DeviceLoop
from trainer.step.evaluation import Evaluator


class Replicas(NamedTuple):
    """The process's only strategy, and the ranks that train together."""

    strategy: tf.distribute.Strategy
    ranks: Ranks


class Examples(NamedTuple):
    """The data to train and to evaluate on.

    splits: the sources.
    order: of the training examples.
    layout: how a global batch is cut into shards.
    fingerprints: of the splits, by name.
    notes: lines for the console on where data and weights come from.
    keep: stores features that were computed from the data; called once the run has begun.
    """

    splits: Splits
    order: Order
    layout: Layout
    fingerprints: Mapping[str, Fingerprint]
    notes: Sequence[str]
    keep: Callable[[], None]


class Length(NamedTuple):
    """total_steps: of the run.  steps_per_loop: upper bound on the steps of one host call."""

    total_steps: int
    steps_per_loop: int


class Experiment(NamedTuple):
    """The assembled parts. actions: each makes an action, given the context."""

    invocation: Invocation
    resumption: Resumption
    replicas: Replicas
    examples: Examples
    device_loop: DeviceLoop
    evaluator: Evaluator
    actions: Sequence[Callable[[Context], Action]]
    length: Length
