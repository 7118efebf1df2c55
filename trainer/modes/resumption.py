"""Where an attempt resumes: what the run directory says about the attempts before it. Loads no weights."""

import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from trainer.base.errors import UsageError
from trainer.data.fingerprint import Fingerprint, differing
from trainer.data.order import Order
from trainer.data.source import Splits
from trainer.distributed.ranks import Ranks
from trainer.modes.invocation import Invocation
from trainer.rundir.checkpoints import Checkpoints, ReadOnlyCheckpoints, SavedState
from trainer.rundir.directory import CHECKPOINTS, ReadOnlyRunDirectory, RunDirectory


class Resumption(NamedTuple):
    """What is left of the attempts before this one.

    directory, checkpoints: read-only on every rank but rank 0.
    previous_report: report.json of the attempts so far, empty if there were none.
    attempt: number of the attempt that is about to begin, from 1; 0 in a mode that trains nothing.
    saved: the checkpoint to resume from, if any; read, but not yet loaded into the model.
    """

    directory: RunDirectory
    checkpoints: Checkpoints
    previous_report: Mapping[str, Any]
    attempt: int
    saved: SavedState | None


def resume(invocation: Invocation, ranks: Ranks, checkpoints: Callable[..., Checkpoints]) -> Resumption:
    """Reads report and checkpoint. All ranks resume from the newest checkpoint that verifies on rank 0. A collective.

    In mode train, an attempt is claimed before anything is read, and damaged checkpoints are renamed. Where no attempt
    has ever begun there is nothing to read, and nothing is claimed before it begins.

    Args:
      checkpoints: returns the checkpoints, given store, attempt, say and committing.

    Raises:
      UsageError: report or checkpoints cannot be read, or the run's checkpoints are gone; or ranks were started with
        other configurations.
    """
    _require_same_configuration(invocation, ranks)
    directory = invocation.directory if ranks.first else ReadOnlyRunDirectory(invocation.directory.where)
    before, attempt = ranks.from_first(_claim_and_read(directory, invocation.mode) if ranks.first else None)
    keeper = (checkpoints if ranks.first else ReadOnlyCheckpoints)(
        store=directory.store,
        attempt=attempt,
        say=invocation.console.say,
        committing=directory.committing,
    )
    saved = keeper.restore(set_bad_aside=invocation.mode == "train") if ranks.first else None
    name = ranks.from_first(saved.name if saved else None)
    if name is None:
        _require_no_loss(directory, before.get("step", 0))
    elif not ranks.first:
        saved = keeper.read(name)
    return Resumption(directory, keeper, before, attempt, saved)


def _require_same_configuration(invocation: Invocation, ranks: Ranks) -> None:
    """Raises UsageError if ranks were started with other flags or files than rank 0. A collective."""
    checksums = ranks.gather([zlib.crc32(invocation.configuration.gin_text.encode())])[:, 0]
    if (others := np.flatnonzero(checksums != checksums[0])).size:
        raise UsageError(
            f"rank {', '.join(map(str, others))} was started with another configuration than rank 0: start all workers "
            f"with the same flags and gin files"
        )


def _claim_and_read(directory: RunDirectory, mode: str) -> tuple[dict[str, Any], int]:
    if mode != "train":
        return directory.read_report(), 0
    if not directory.has_begun:
        return {}, 1
    directory.acquire()
    attempt = directory.claim()
    return directory.read_report(), attempt


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
    saved, run_dir, mode = resumption.saved, resumption.directory.where, invocation.mode
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


def require_shared_data(examples: int, fingerprints: Mapping[str, Fingerprint], ranks: Ranks) -> None:
    """Raises UsageError if ranks do not read the same data: each would train on parts of its own. A collective.

    Args:
      examples: how many there are to train on.
      fingerprints: of the splits, by name.
    """
    of_first, known = ranks.from_first([examples, fingerprints])
    differ = [name for name in fingerprints if differing(known.get(name, {}), fingerprints[name])]
    found = ranks.gather([of_first != examples or bool(differ)])[:, 0]
    if (others := np.flatnonzero(found)).size:
        raise UsageError(
            f"rank {', '.join(map(str, others))} reads other data than rank 0: let all workers read the same files"
        )


def _require_no_loss(directory: RunDirectory, step: int) -> None:
    if step > 0:
        raise UsageError(
            f"{directory.where}/{CHECKPOINTS} holds no checkpoint, but the run had come to step {step:,}: put its "
            f"checkpoints back, or start afresh in another run_dir"
        )
