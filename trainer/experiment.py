"""run(): the root of every configuration. Takes the factories that gin fills in and assembles the parts, in order.

Mistakes in configuration and input are found here, before anything is written. What is then done with the parts is in
modes/; processes are started in launch/, and gin is read in config/.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from trainer.actions.action import Action, Context
from trainer.actions.unfreeze import Unfreeze
from trainer.base.errors import UsageError, building
from trainer.data.fingerprint import Fingerprint, fingerprint
from trainer.data.global_permutation import GlobalPermutation
from trainer.data.pipeline import Layout
from trainer.data.source import Field, Splits
from trainer.distributed import strategies, tf_config
from trainer.distributed.collective_wait import CollectiveWait
from trainer.distributed.ranks import Ranks
from trainer.modes import check, evaluate, predict, train
from trainer.modes.invocation import Invocation, ProcessSetup
from trainer.modes.records import Examples, Experiment, Length, Replicas
from trainer.modes.resumption import require_same_data, require_shared_data, resume
from trainer.pretrained.stored_features import Features
from trainer.rundir.checkpoints import Checkpoints, SavedState
from trainer.rundir.directory import FEATURES
from trainer.step.arithmetic import Arithmetic
from trainer.step.device_loop import DeviceLoop
from trainer.step.evaluation import Evaluator
from trainer.step.freezing import Freeze
from trainer.step.step_state import StepState
from trainer.step.train_step import TrainStep
from trainer.step.trial import try_step
from trainer.tasks.protocol import Parts, Task

# NumPy's and Keras's seeds must be below this; sizes and steps below it keep step * batch_size within 64 bits.
_LARGEST = 1 << 32
MODES = {"train": train.run, "evaluate": evaluate.run, "predict": predict.run, "check": check.run}


def run(
    invocation: Invocation,
    *,
    data: Callable[[], Splits],
    task: Callable[[], Task],
    batch_size: int,
    epochs: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    strategy: Callable[[], tf.distribute.Strategy] = strategies.default,
    arithmetic: Callable[[], Arithmetic] = Arithmetic,
    checkpoints: Callable[..., Checkpoints] = Checkpoints,
    features: Callable[[Splits, Path], Features] | None = None,
    warm_starts: Sequence[Callable[[], Callable[[Parts, Mapping[str, Field]], str]]] = (),
    freezes: Sequence[Callable[[], Freeze]] = (),
    actions: Sequence[Callable[[Context], Action]] = (),
    more_actions: Sequence[Callable[[Context], Action]] = (),
    faults: Sequence[Callable[[Context], Action]] = (),
    steps_per_loop: int = 1000,
) -> int:
    """Runs one mode of an experiment; returns the exit status of its process.

    Args:
      data: returns the splits.
      task: returns the task to train.
      batch_size: examples of the global batch, whatever the number of replicas.
      epochs, steps: the length of the run; give one of them. An epoch is ceil(examples / batch_size) steps.
      seed: of weights, order and everything random.
      shuffle: whether the training examples are permuted, differently in every epoch.
      strategy: returns the process's only strategy.
      arithmetic: returns the settings that determine the numbers.
      checkpoints: returns the checkpoints, given store, attempt, say and committing.
      features: given the splits and a folder in the run directory, returns the splits to train on instead, computed
        from them once, and a function that stores them there (trainer.pretrained.stored_features).
      warm_starts: each returns a function that sets weights of a new run, later ones over earlier ones: called with the
        task's parts and the fields of the data, it returns a line for the console.
      freezes: each returns a rule on frozen layers; later rules override earlier ones.
      actions, more_actions: each returns an action, given the context; `actions` are those that every run has. At a
        step they run in the order of their turns.
      faults: each returns an action that fails on purpose.
      steps_per_loop: upper bound on the steps of one host call.

    Raises:
      UsageError: configuration or input is wrong; nothing has been written or lost.
      TrainingError: the run failed in a way that needs no traceback.
    """
    _check_numbers(batch_size, steps_per_loop, seed, epochs, steps)
    setup, choices = invocation.setup, arithmetic()
    choices.prepare_process(seed)
    chosen = (_virtual(setup.virtual_replicas) if setup.virtual_replicas else strategy)()
    ranks = _ranks(setup, chosen)
    resumption = resume(invocation, ranks, checkpoints)
    saved = resumption.saved
    with building("the data"):
        splits, keep = data(), lambda: None
        if features is not None:
            resumption.directory.fetch(FEATURES)
            splits, keep = features(splits, resumption.directory.path / FEATURES)
    order = GlobalPermutation(len(splits.train), batch_size, seed if shuffle else None)
    layout = _layout(batch_size, choices.shards, chosen, saved, setup)
    fingerprints = _fingerprints(splits) if invocation.mode == "train" else {}
    require_shared_data(order.examples, fingerprints, ranks)
    require_same_data(resumption, order, splits, fingerprints, invocation)
    if saved is not None and choices.xla is None:
        choices = dataclasses.replace(choices, xla=saved.notes["xla"])
    with building("the task"):
        rules = [make() for make in freezes]
        start = _Start([make() for make in warm_starts] if saved is None else [], splits)
        state = StepState(chosen, task(), splits.fields(), choices, seed, rules, initialise=start)
    train_step = TrainStep(chosen, state, layout, seed, choices, CollectiveWait(strategies.local_replicas(chosen)))
    if invocation.mode in ("train", "check"):
        _try(train_step, splits)
    unfreezing = [functools.partial(Unfreeze, rule=rule) for rule in rules if rule.until is not None]
    experiment = Experiment(
        invocation,
        resumption,
        Replicas(chosen, ranks),
        Examples(splits, order, layout, fingerprints, [*splits.notes, *start.notes], keep),
        DeviceLoop(train_step),
        _evaluator(train_step, splits, ranks),
        [*faults, *unfreezing, *actions, *more_actions],
        Length(steps or (epochs or 0) * order.steps_per_epoch, steps_per_loop),
    )
    return MODES[invocation.mode](experiment)


def _fingerprints(splits: Splits) -> dict[str, Fingerprint]:
    with building("the data"):
        return {name: fingerprint(source) for name, source in splits.parts().items()}


def _try(train_step: TrainStep, splits: Splits) -> None:
    with building("a training step"):
        try_step(train_step, splits.train)


class _Start:
    """Runs the warm starts, in order, and keeps their lines for the console.

    Args:
      warm_starts: each called with the parts and the fields of the data; returns its line.
      splits: whose fields it is given.
    """

    def __init__(self, warm_starts: Sequence[Callable[[Parts, Mapping[str, Field]], str]], splits: Splits):
        self._warm_starts, self._splits = warm_starts, splits
        self.notes: list[str] = []

    def __call__(self, parts: Parts) -> None:
        for warm_start in self._warm_starts:
            self.notes.append(warm_start(parts, self._splits.fields()))


def _evaluator(train_step: TrainStep, splits: Splits, ranks: Ranks) -> Evaluator:
    held_out, state = splits.held_out(), train_step.state
    shown = list(held_out.values())[-1] if held_out else splits.train
    layout = train_step.layout
    if not state.parts.compares_examples:  # in as few shards as possible
        layout = layout._replace(shards=layout.replicas)
    return Evaluator(
        train_step.strategy,
        state.task,
        state.average,
        held_out,
        layout,
        train_step.collective_wait,
        ranks,
        shown,
    )


def _check_numbers(batch_size: int, steps_per_loop: int, seed: int, epochs: int | None, steps: int | None) -> None:
    if (epochs is None) == (steps is None):
        raise UsageError("trainer.experiment.run: give one of epochs and steps, and None for the other")
    length = {"epochs": epochs} if steps is None else {"steps": steps}
    for name, number in {"batch_size": batch_size, "steps_per_loop": steps_per_loop, **length}.items():
        _require_between(1, name, number)
    _require_between(0, "seed", seed)


def _ranks(setup: ProcessSetup, strategy: tf.distribute.Strategy) -> Ranks:
    """The processes that train together.

    Raises:
      UsageError: processes were started to train together, and the strategy would train in each alone.
    """
    ranks = strategies.ranks(strategy)
    setup.watch_meetings(ranks.meetings)
    if setup.virtual_replicas:
        return ranks
    started, named = setup.processes, tf_config.from_environment()
    together = started if named is None else len(named.addresses)
    if together not in (None, ranks.count):
        said = f"{started} processes were started" if named is None else f"TF_CONFIG names {together} workers"
        raise UsageError(
            f"{said}, but the strategy is of {ranks.count}, so that each would train by itself: add "
            f"--strategy=multi_worker" + ("" if started else ", or unset TF_CONFIG")
        )
    return ranks


def _require_between(least: int, name: str, number: int | None) -> None:
    if number is None or not least <= number < _LARGEST:
        raise UsageError(f"trainer.experiment.run.{name} = {number}: give a number from {least} to {_LARGEST - 1:,}")


def _virtual(replicas: int) -> Callable[[], tf.distribute.Strategy]:
    return lambda: strategies.mirrored(virtual_cpus=replicas)


def _layout(
    batch_size: int,
    shards: int | None,
    strategy: tf.distribute.Strategy,
    saved: SavedState | None,
    setup: ProcessSetup,
) -> Layout:
    """How global batches are cut. shards None: those of the checkpoint; in a new run the most replicas it may have.

    Raises:
      UsageError: batch_size, shards and replicas do not fit together.
    """
    replicas, local = strategy.num_replicas_in_sync, strategies.local_replicas(strategy)
    if shards is None:
        most = max(replicas, min(setup.most_processes * local, batch_size))
        shards = saved.notes["shards"] if saved is not None else most
    setup.told_limit(min(shards, batch_size) // local)
    if replicas > batch_size:
        raise UsageError(f"{replicas} replicas cannot share batch_size = {batch_size}: raise it")
    if replicas > shards:
        raise UsageError(
            f"{replicas} replicas cannot share {shards} shards: a run keeps the shards it began with; "
            f"use at most {shards} replicas, or start with Arithmetic.shards = {replicas} in another run_dir"
        )
    if shards > batch_size:
        raise UsageError(f"Arithmetic.shards = {shards} is more than batch_size = {batch_size}: lower it")
    return Layout(batch_size, shards, replicas)
