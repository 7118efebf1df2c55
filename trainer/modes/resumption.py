"""Where an attempt resumes: what the run directory says about the attempts before it. Loads no weights."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from trainer.base.errors import UsageError
from trainer.data.fingerprint import Fingerprint, differing
from trainer.data.order import Order
from trainer.data.source import Splits
from trainer.distributed.ranks import Ranks
from trainer.modes.invocation import Invocation
from trainer.rundir.checkpoints import Checkpoints, ReadOnlyCheckpoints, SavedState
from trainer.rundir.directory import ReadOnlyRunDirectory, RunDirectory


class Resumption(NamedTuple):
    """What is left of the attempts before this one.

    directory, checkpoints: read-only on every rank but rank 0.
    previous_report: report.json of the attempts so far, empty if there were none.
    attempt: number of the attempt that is about to begin, from 1.
    saved: the checkpoint to resume from, if any; read, but not yet loaded into the model.
    """

    directory: RunDirectory
    checkpoints: Checkpoints
    previous_report: Mapping[str, Any]
    attempt: int
    saved: SavedState | None


def resume(invocation: Invocation, ranks: Ranks, checkpoints: Callable[..., Checkpoints]) -> Resumption:
    """Reads report and checkpoint. All ranks resume from the newest checkpoint that verifies on rank 0. A collective.

    In mode train, damaged checkpoints are renamed.

    Args:
      checkpoints: returns the checkpoints, given directory, attempt, say and committing.

    Raises:
      UsageError: report or checkpoints cannot be read, or the run's checkpoints are gone.
    """
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
    return Resumption(directory, keeper, before, attempt, saved)


def require_same_data(
    resumption: Resumption,
    order: Order,
    splits: Splits,
    fingerprints: Mapping[str, Fingerprint],
    invocation: Invocation,
) -> None:
    """Raises UsageError if the run would resume with other data than it began with.

    Args:
      fingerprints: of the splits, by name; empty if the mode trains nothing.
    """
    saved, run_dir, mode = resumption.saved, resumption.directory.path, invocation.mode
    if saved is None:
        return
    if saved.notes["examples"] != order.examples:
        raise UsageError(
            f"the training data has {order.examples:,} examples, but the run in {run_dir} started with "
            f"{saved.notes['examples']:,}: the order would differ; restore the data, or choose another run_dir"
        )
    before = saved.notes.get("held_out", {})
    for name, source in splits.held_out().items() if mode == "train" else ():
        if before.get(name, len(source)) != len(source):
            raise UsageError(
                f"the {name} data has {len(source):,} examples, but the run in {run_dir} had {before[name]:,}: it may "
                f"hold examples now that were trained on; restore the data, or choose another run_dir"
            )
    if invocation.options.get("allow_config_change"):
        return
    known = saved.notes.get("fingerprints", {})
    for name in known.keys() & fingerprints.keys():
        if fields := differing(known[name], fingerprints[name]):
            raise UsageError(
                f"the {name} data holds other values than the run in {run_dir} began with, in {', '.join(fields)}: "
                f"restore the data, choose another run_dir, or pass --allow_config_change"
            )


def _require_no_loss(directory: RunDirectory, step: int) -> None:
    if step > 0:
        raise UsageError(
            f"{directory.checkpoints} holds no checkpoint, but the run had come to step {step:,}: put its checkpoints "
            f"back, or start afresh in another run_dir"
        )
