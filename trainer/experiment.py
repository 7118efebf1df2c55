"""run(): the one root of a configuration. Takes the factories that gin fills in and assembles the parts, in order.

Everything that can be wrong with configuration and input is found here, and nothing is written. What is then done with
the parts is a mode's business (modes/), launching and gin are others'.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from trainer import strategies
from trainer.actions.action import Action, Context
from trainer.actions.release import Release
from trainer.arithmetic import Arithmetic
from trainer.checkpoints import Checkpoints, ReadOnlyCheckpoints, Saved
from trainer.console import Console
from trainer.data.order import Order
from trainer.data.pipeline import Layout
from trainer.data.source import Field, Splits
from trainer.errors import UsageError, building
from trainer.evaluator import Evaluator
from trainer.features import Features
from trainer.freezing import Freeze
from trainer.goodput import Ledger
from trainer.modes import check, evaluate, predict, train
from trainer.ranks import Ranks
from trainer.requests import Requests
from trainer.run_directory import ReadOnlyRunDirectory, RunDirectory
from trainer.step import TrainStep
from trainer.tasks.protocol import Parts, Task

# Seeds of NumPy and Keras are smaller than that; of steps and the like, positions in the data must fit into an int64.
_LARGEST = 1 << 32
MODES = {"train": train.run, "evaluate": evaluate.run, "predict": predict.run, "check": check.run}


class Invocation(NamedTuple):
    """What the launcher knows and the configuration does not.

    config: the whole configuration, as gin text.  operative: returns what of it has been used so far.
    begun: called once the run has begun: from then on requests are looked at, at every boundary.
    watch: given a function that tells, from any thread, how many times this process has come to the steps' all-reduce.
    options: of the mode: `input` and `output` of predict and evaluate, `folder` of check.
    processes: how many the launcher has started to train together; None: it did not start them.
    replicas: run on so many virtual CPU devices, whatever strategy is configured.
    most_replicas: the most replicas that any attempt at the run may have.
    """

    mode: str
    directory: RunDirectory
    config: str
    operative: Callable[[], str]
    console: Console
    requests: Requests
    ledger: Ledger
    begun: Callable[[], None] = lambda: None
    watch: Callable[[Callable[[], int]], None] = lambda progress: None
    options: Mapping[str, Any] = {}
    processes: int | None = None
    replicas: int | None = None
    most_replicas: int | None = None


class Books(NamedTuple):
    """What a run has come to so far, and where that is written down.

    directory, checkpoints: read-only views to every rank but the first.
    before: the report of the attempts so far, empty if there were none.
    attempt: number of the attempt that is about to begin.
    saved: the checkpoint to go on from, if any; not yet put in place.
    """

    directory: RunDirectory
    checkpoints: Checkpoints
    before: Mapping[str, Any]
    attempt: int
    saved: Saved | None


class Experiment(NamedTuple):
    """The assembled parts."""

    invocation: Invocation
    books: Books
    strategy: tf.distribute.Strategy
    ranks: Ranks
    splits: Splits
    notes: Sequence[str]  # what a person should know of how data and weights came to be
    keep: Callable[[], None]  # writes what was computed of the data, once the run has begun
    order: Order
    layout: Layout
    step: TrainStep
    evaluator: Evaluator
    actions: Sequence[Callable[[Context], Action]]
    total_steps: int
    steps_per_loop: int


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
    warm_start: Callable[[], Callable[[Parts, Mapping[str, Field]], str]] | None = None,
    freezes: Sequence[Callable[[], Freeze]] = (),
    actions: Sequence[Callable[[Context], Action]] = (),
    more_actions: Sequence[Callable[[Context], Action]] = (),
    faults: Sequence[Callable[[Context], Action]] = (),
    steps_per_loop: int = 1000,
) -> int:
    """Runs one mode of an experiment; returns the exit status of its process.

    Args:
      data: returns the splits.
      task: returns what is learned.
      batch_size: of the global batch, whatever the number of replicas.
      epochs, steps: how long; one of them. An epoch is ceil(examples / batch_size) steps.
      seed: of weights, order and everything random.
      shuffle: whether the training examples are permuted, anew in every epoch.
      strategy: returns the process's one strategy.
      arithmetic: returns the choices that decide the numbers.
      checkpoints: returns the checkpoints, given directory, attempt and say.
      features: given the splits and a folder of the run, returns what is computed of them once, to be trained on
        instead, and what keeps it there.
      warm_start: returns what gives a new run its weights: called with the task's parts and the fields of the data, it
        returns a line on what it did.
      freezes: each returns a rule on layers that stay as they are; where two meet, the later counts.
      actions, more_actions: each returns an action, given the context; the first are those that every run has. Who acts
        first is up to their turns.
      faults: actions that fail on purpose.
      steps_per_loop: upper bound of the steps in one host call.

    Raises:
      UsageError: configuration or input is wrong; nothing has been written or lost.
      TrainingError: the run failed in a way that needs no traceback.
    """
    _check_numbers(batch_size, steps_per_loop, seed, epochs, steps)
    choices = arithmetic()
    choices.prepare_process(seed)
    chosen = (_virtual(invocation.replicas) if invocation.replicas else strategy)()
    ranks = strategies.ranks(chosen)
    _require_processes(invocation.processes, ranks)
    books = _open_books(invocation, ranks, checkpoints)
    saved = books.saved
    with building("the data"):
        splits, keep = data(), lambda: None
        if features is not None:
            splits, keep = features(splits, books.directory.path / "features")
    order = Order(len(splits.train), batch_size, seed if shuffle else None)
    layout = _layout(batch_size, choices.shards, chosen.num_replicas_in_sync, saved, invocation.most_replicas)
    _require_same_data(saved, order, splits, invocation)
    if saved is not None and choices.xla is None:
        choices = dataclasses.replace(choices, xla=saved.notes["xla"])
    with building("the task"):
        notes = list(splits.notes)
        rules = [make() for make in freezes]
        start = warm_start() if warm_start is not None and saved is None else None
        step = TrainStep(
            chosen, task(), splits.fields(), layout, seed, choices, rules,
            prepare=(lambda parts: notes.append(start(parts, splits.fields()))) if start else (lambda parts: None),
        )  # fmt: skip
    held_out = splits.held_out()
    shown = list(held_out.values())[-1] if held_out else splits.train
    evaluator = Evaluator(chosen, step.task, step.average, held_out, batch_size, step.arrivals, ranks, shown)
    releases = [functools.partial(Release, rule=rule) for rule in rules if rule.until is not None]
    total_steps = steps or (epochs or 0) * order.steps_per_epoch
    experiment = Experiment(
        invocation, books, chosen, ranks, splits, notes, keep, order, layout, step, evaluator,
        [*faults, *releases, *actions, *more_actions], total_steps, steps_per_loop,
    )  # fmt: skip
    return MODES[invocation.mode](experiment)


def _check_numbers(batch_size: int, steps_per_loop: int, seed: int, epochs: int | None, steps: int | None) -> None:
    if (epochs is None) == (steps is None):
        raise UsageError("trainer.experiment.run: give one of epochs and steps, and None for the other")
    length = {"epochs": epochs} if steps is None else {"steps": steps}
    for name, number in {"batch_size": batch_size, "steps_per_loop": steps_per_loop, **length}.items():
        _require_between(1, name, number)
    _require_between(0, "seed", seed)


def _require_processes(started: int | None, ranks: Ranks) -> None:
    if started not in (None, ranks.count):
        raise UsageError(
            f"{started} processes were started, but the strategy is of {ranks.count}: add --strategy=multi_worker"
        )


def _require_between(least: int, name: str, number: int | None) -> None:
    if number is None or not least <= number < _LARGEST:
        raise UsageError(f"trainer.experiment.run.{name} = {number}: give a number from {least} to {_LARGEST - 1:,}")


def _require_no_loss(directory: RunDirectory, step: int) -> None:
    if step > 0:
        raise UsageError(
            f"{directory.checkpoints} holds no checkpoint, but the run had come to step {step:,}: put its checkpoints "
            f"back, or start afresh in another run_dir"
        )


def _open_books(invocation: Invocation, ranks: Ranks, checkpoints: Callable[..., Checkpoints]) -> Books:
    """Reads what there is. All ranks go on from the newest checkpoint that the first finds to be sound."""
    directory = invocation.directory if ranks.first else ReadOnlyRunDirectory(invocation.directory.path)
    before = ranks.from_first(directory.read_report() if ranks.first else None)
    attempt = before.get("attempts", 0) + 1
    keeper = (checkpoints if ranks.first else ReadOnlyCheckpoints)(
        directory=directory.checkpoints,
        attempt=attempt,
        say=invocation.console.say,
        committing=directory.committing,
    )
    saved = keeper.restore(set_bad_aside=invocation.mode == "train") if ranks.first else None
    step = ranks.from_first(saved.step if saved else None)
    if step is None:
        _require_no_loss(directory, before.get("step", 0))
    elif not ranks.first:
        saved = keeper.read(step)
    return Books(directory, keeper, before, attempt, saved)


def _require_same_data(saved: Saved | None, order: Order, splits: Splits, invocation: Invocation) -> None:
    if saved is None:
        return
    run_dir = invocation.directory.path
    if saved.notes["examples"] != order.examples:
        raise UsageError(
            f"the training data has {order.examples:,} examples, but the run in {run_dir} started with "
            f"{saved.notes['examples']:,}: the order would differ; restore the data, or choose another run_dir"
        )
    before = saved.notes.get("held_out", {})
    for name, source in splits.held_out().items() if invocation.mode == "train" else ():
        if before.get(name, len(source)) != len(source):
            raise UsageError(
                f"the {name} data has {len(source):,} examples, but the run in {run_dir} had {before[name]:,}: what "
                f"was trained on may be among them now; restore the data, or choose another run_dir"
            )


def _virtual(replicas: int) -> Callable[[], tf.distribute.Strategy]:
    return lambda: strategies.mirrored(virtual_cpus=replicas)


def _layout(batch_size: int, shards: int | None, replicas: int, saved: Saved | None, most: int | None) -> Layout:
    """Shards that nobody named are as many as replicas may ever be, and then stay what they were when the run began."""
    if shards is None:
        shards = saved.notes["shards"] if saved is not None else max(most or 1, replicas)
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
