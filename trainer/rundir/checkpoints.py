"""Checkpoints: written in the background, committed atomically, verified when they are read.

    RUN_DIR/checkpoints/step_00001000/   state.index, state.data-* (tf.train.load_checkpoint), manifest.json

What a checkpoint holds is decided in modes/state.py, when one is made in actions/checkpoint.py.
"""

import contextlib
import json
import math
import os
import re
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.base import unlocked
from trainer.base.errors import EnvironmentTrouble, TrainingError, UsageError, of_environment
from trainer.base.liveness import progressed

_FORMAT = 1
_LONGEST_PAUSE = 8.0  # seconds between two tries to write
_NAME = re.compile(r"step_(\d{8,})$")
# Values are written and read in groups of at most this many bytes, or of one value: then memory need not hold all of
# them a second time, and the work can be seen to go on.
_AT_ONCE = 256 << 20


class SavedState(NamedTuple):
    """A checkpoint that was read: its step, its values by name, not to be written to, and the notes in its manifest."""

    step: int
    values: dict[str, np.ndarray]
    notes: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run directory.

    Args:
      directory: created with the first checkpoint.
      attempt: number of this attempt at the run; goes into temporary names and the manifest.
      say: prints a line.
      committing: a context in which checkpoints appear, are renamed and removed; raises if this attempt may no longer.
      keep: how many of the newest are kept.
      patience: for how many seconds a checkpoint is tried again that could not be written for a reason that may pass,
        such as a full disk. Training goes on meanwhile, until the next checkpoint is due.

    Raises:
      UsageError: `keep` is below 1, or `patience` below 0.
    """

    def __init__(
        self,
        directory: Path,
        attempt: int,
        say: Callable[[str], None] = print,
        committing: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        keep: int = 3,
        patience: float = 60,
    ):
        if keep < 1:
            raise UsageError(f"Checkpoints.keep = {keep}: keep at least 1")
        if patience < 0:
            raise UsageError(f"Checkpoints.patience = {patience}: give a number of seconds of at least 0")
        self._directory, self._attempt, self._say, self._keep = directory, attempt, say, keep
        self._committing, self._patience = committing, patience
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None
        self._newest, self._ends = -1, threading.Event()

    def save(
        self,
        step: int,
        values: Mapping[str, np.ndarray],
        notes: Mapping[str, Any],
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts to write a checkpoint; waits only for the previous one. Skips a step that is saved already.

        committed: called in the writing thread once the checkpoint is visible.

        Raises: whatever went wrong with the previous checkpoint, see `wait`.
        """
        self.wait()
        if step == self._newest:
            committed()
            return
        self._pending = self._writer.submit(self._write_patiently, step, dict(values), dict(notes), committed)

    def wait(self) -> None:
        """Waits until nothing is being written.

        Raises:
          TrainingError: the checkpoint could not be written, or a newer attempt has begun.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except (OSError, tf.errors.OpError) as error:
            raise (EnvironmentTrouble if of_environment(error) else TrainingError)(
                f"no checkpoint could be written to {self._directory}{_free(self._directory)} ({error}): make room "
                f"there or repair it; the same command goes on from the newest checkpoint"
            ) from error

    def failed(self) -> bool:
        """Whether the checkpoint that was being written has failed; the next `save` or `wait` raises why."""
        return self._pending is not None and self._pending.done() and self._pending.exception() is not None

    def finish(self) -> None:
        """Waits until nothing is being written, after a failure, too; prints what went wrong instead of raising it.

        Nothing is tried again from then on.
        """
        self._ends.set()
        try:
            self.wait()
        except Exception as error:
            self._say(f"warning: the last checkpoint could not be written ({error})")

    def restore(self, set_bad_aside: bool) -> SavedState | None:
        """Returns the newest checkpoint that verifies, or None if there never was one.

        set_bad_aside: rename those that do not verify (needs the run's lock), so that they are not read again.

        Raises:
          UsageError: there are checkpoints, but none can be read.
        """
        found = self._found()
        for step, path in found:
            try:
                saved = _read(step, path)
            except (OSError, ValueError, KeyError, TypeError, IndexError, tf.errors.OpError) as error:
                if of_environment(error):
                    raise EnvironmentTrouble(
                        f"checkpoint {path} could not be read ({error}); it may be well, and is left in place: see to "
                        f"its disk, and run the same command again"
                    ) from error
                if not path.exists():  # a run in progress has written newer ones and removed this one
                    return self.restore(set_bad_aside)
                kept = "it is left in place"
                if set_bad_aside:
                    where = _unused(path.with_name(path.name + ".corrupt"))
                    with self._committing():
                        path.rename(where)
                    kept = f"it is kept as {where}"
                self._say(f"warning: checkpoint {path.name} is damaged ({error}); {kept}")
                continue
            if step != found[0][0]:
                self._say(f"warning: going back to the checkpoint before it, of step {step:,}")
            self._newest = step
            return saved
        if found or any(self._directory.glob("step_*.corrupt*")):
            raise UsageError(
                f"no checkpoint in {self._directory} can be read; to start afresh, use another run_dir or move that "
                f"folder away"
            )
        return None

    def read(self, step: int) -> SavedState:
        """Returns the checkpoint of a step.

        Raises: whatever is wrong with it: OSError, ValueError, KeyError, TypeError, IndexError or tf.errors.OpError.
        """
        return _read(step, self._directory / f"step_{step:08d}")

    def clean(self) -> None:
        """Removes what a killed attempt left half-written."""
        for leftover in self._directory.glob(".step_*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _found(self) -> list[tuple[int, Path]]:
        """Committed checkpoints, newest first, whether they verify or not."""
        if not self._directory.is_dir():
            return []
        found = [(int(m[1]), path) for path in self._directory.iterdir() if (m := _NAME.match(path.name))]
        return sorted(found, reverse=True)

    def _write_patiently(
        self, step: int, values: dict[str, np.ndarray], notes: dict[str, Any], committed: Callable[[], None]
    ) -> None:
        started, pause = time.monotonic(), 0.5
        while True:
            try:
                return self._write(step, values, notes, committed)
            except (OSError, tf.errors.OpError) as error:
                if not of_environment(error) or time.monotonic() - started > self._patience or self._ends.is_set():
                    raise
                if pause == 0.5:
                    self._say(f"warning: the checkpoint of step {step:,} could not be written ({error}): trying again")
            self._ends.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _write(
        self, step: int, values: dict[str, np.ndarray], notes: dict[str, Any], committed: Callable[[], None]
    ) -> None:
        final = self._directory / f"step_{step:08d}"
        temporary = self._directory / f".{final.name}.attempt_{self._attempt}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _write_values(temporary / "state", values)
        files = {path.name: {"bytes": path.stat().st_size, "crc32": _crc32(path)} for path in temporary.glob("state.*")}
        manifest = {"format": _FORMAT, "step": step, "attempt": self._attempt, "files": files, "notes": notes}
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1))
        # Durable before it is visible: the data, then the folder's own entries, then the name, then the parent's.
        for path in (*temporary.iterdir(), temporary):
            _sync(path)
        with self._committing():
            if final.exists():  # an earlier attempt's; never the one that was restored from
                shutil.rmtree(final)
            temporary.rename(final)
            _sync(self._directory)
            self._newest = step
            committed()
            for _, path in self._found()[self._keep :]:
                path.rename(path.with_name(f".{path.name}.old"))
        for doomed in self._directory.glob(".step_*.old"):
            shutil.rmtree(doomed, ignore_errors=True)


class ReadOnlyCheckpoints(Checkpoints):
    """Checkpoints that another process writes: rank 0, or another run."""

    def save(
        self,
        step: int,
        values: Mapping[str, np.ndarray],
        notes: Mapping[str, Any],
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        pass

    def clean(self) -> None:
        pass


def _read(step: int, path: Path) -> SavedState:
    manifest = json.loads((path / "manifest.json").read_text())
    if manifest["format"] != _FORMAT or manifest["step"] != step:
        raise ValueError("its manifest is of another format or step")
    for name, expected in manifest["files"].items():
        file = path / name
        if not file.exists():
            raise ValueError(f"{name} is missing")
        if file.stat().st_size != expected["bytes"]:
            raise ValueError(f"{name} has {file.stat().st_size:,} of {expected['bytes']:,} bytes")
        if _crc32(file) != expected["crc32"]:
            raise ValueError(f"{name} has the wrong checksum")
    return SavedState(step, _read_values(path / "state"), manifest["notes"])


def _write_values(prefix: Path, values: Mapping[str, np.ndarray]) -> None:
    """Writes values in TensorFlow's format, a data file for each group."""
    parts = list[str]()
    with tf.device("CPU:0"):
        for names in _groups({name: value.nbytes for name, value in values.items()}):
            parts.append(str(prefix.with_name("parts") / str(len(parts))))
            tf.raw_ops.SaveV2(
                prefix=parts[-1],
                tensor_names=names,
                shape_and_slices=[""] * len(names),
                tensors=[unlocked.tensor(values[name]) for name in names],
            )
            progressed(len(names))
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(prefix), delete_old_dirs=True)


def _read_values(prefix: Path) -> dict[str, np.ndarray]:
    # The reader's own get_tensor holds Python's global lock while it reads.
    reader = tf.train.load_checkpoint(str(prefix))
    dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    values = {}
    with tf.device("CPU:0"):
        for names in _groups({name: math.prod(shape) * dtypes[name].size for name, shape in shapes.items()}):
            tensors = tf.raw_ops.RestoreV2(
                prefix=str(prefix),
                tensor_names=names,
                shape_and_slices=[""] * len(names),
                dtypes=[dtypes[name] for name in names],
            )
            for name, tensor in zip(names, tensors, strict=True):
                # NumPy looks at the tensor's own memory; texts have none that it could look at.
                values[name] = np.asarray(tensor.numpy() if tensor.dtype == tf.string else tensor)
                progressed()
    return values


def _groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The names in groups, in their order; sizes: bytes by name."""
    group, total = list[str](), 0
    for name, size in sizes.items():
        if group and total + size > _AT_ONCE:
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    yield group


def _free(directory: Path) -> str:
    try:
        return f", which has {shutil.disk_usage(directory).free:,} bytes free"
    except OSError:  # it does not answer
        return ""


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
            progressed()
    return checksum


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        progressed()
    finally:
        os.close(descriptor)


def _unused(path: Path) -> Path:
    candidates = [path, *(path.with_name(f"{path.name}.{i}") for i in range(2, 1000))]
    return next(candidate for candidate in candidates if not candidate.exists())
