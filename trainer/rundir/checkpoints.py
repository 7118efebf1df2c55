"""Checkpoints: written in the background, published whole or not at all, verified when they are read.

    RUN_DIR/checkpoints/step_00001000/   state.index, state.data-* (tf.train.load_checkpoint), manifest.json

What a checkpoint holds is decided in modes/state.py, when one is made in actions/checkpoint.py; how files come to be
there whole, in storage/.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.base.errors import EnvironmentTrouble, TrainingError, UsageError, of_environment
from trainer.rundir import manifest, state_files
from trainer.rundir.directory import CHECKPOINTS
from trainer.rundir.manifest import Damaged
from trainer.storage.store import MANIFEST, Store

_LONGEST_PAUSE = 8.0  # seconds between two tries to write


class SavedState(NamedTuple):
    """A checkpoint that was read: its step, its values by name, not to be written to, and the notes in its manifest.

    name: of its folder.
    """

    step: int
    values: dict[str, np.ndarray]
    notes: dict[str, Any]
    name: str


class Checkpoints:
    """The checkpoints of one run directory.

    Args:
      store: the run directory; the folder for checkpoints is made with the first one.
      attempt: number of this attempt at the run; goes into the manifest.
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
        store: Store,
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
        self._store, self._attempt, self._say, self._keep = store, attempt, say, keep
        self._where = f"{store.where}/{CHECKPOINTS}"
        self._committing, self._patience = committing, patience
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None
        self._newest, self._ends = -1, threading.Event()

    def save(
        self,
        step: int,
        values: Mapping[str, np.ndarray],
        notes: Mapping[str, Any],
        before: Callable[[], None] = lambda: None,
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts to write a checkpoint; waits only for the previous one. Skips a step that is saved already.

        before, committed: called in the writing thread before the checkpoint is published, and once it is.

        Raises: whatever went wrong with the previous checkpoint, see `wait`.
        """
        self.wait()
        if step == self._newest:
            committed()
            return
        self._pending = self._writer.submit(
            self._write_patiently, _Save(step, dict(values), dict(notes), before, committed)
        )

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
                f"no checkpoint could be written to {self._where}{self._store.room()} ({error}): make room there "
                f"or repair it; the same command goes on from the newest checkpoint"
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

        set_bad_aside: rename those that are damaged (needs the run's lock), so that they are not read again.

        Raises:
          UsageError: there are checkpoints, but none can be read, or the newest is of another version of Convoy.
          EnvironmentTrouble: one could not be read for a reason that may pass.
        """
        found = self._found()
        for number, listed in enumerate(found):
            try:
                saved = self.read(listed.name)
            except Damaged as error:
                if listed.name not in self._store.folders(CHECKPOINTS):
                    # A run in progress has removed it, and written others.
                    return self.restore(set_bad_aside)
                kept = "it is left in place"
                if set_bad_aside:
                    with self._committing():
                        kept = f"it is kept as {self._store.set_aside(f'{CHECKPOINTS}/{listed.name}')}"
                self._say(f"warning: checkpoint {listed.name} is damaged ({error}); {kept}")
                continue
            if number:
                self._say(f"warning: going back to the checkpoint before it, of step {saved.step:,}")
            self._newest = saved.step
            return saved
        if found or any(name.startswith("step_") for name in self._store.folders(CHECKPOINTS)):
            raise UsageError(
                f"no checkpoint in {self._where} can be read; to start afresh, use another run_dir or move that folder "
                f"away"
            )
        return None

    def read(self, name: str) -> SavedState:
        """Returns the checkpoint in a folder of that name.

        Raises:
          Damaged: it is damaged, or there is none.
          UsageError: it is of another version of Convoy.
          EnvironmentTrouble: it could not be read for a reason that may pass; it is left as it is.
        """
        with self._reading(name):
            found = self._manifest(name)
            with self._store.fetched(f"{CHECKPOINTS}/{name}") as folder:
                return SavedState(found["step"], state_files.read(folder, found["files"]), found["notes"], name)

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Within this context errors say whether the checkpoint is damaged, or could only not be read."""
        try:
            yield
        except FileNotFoundError as error:
            raise Damaged(f"{error.filename or error} is missing") from error
        except (OSError, tf.errors.OpError) as error:
            if of_environment(error):
                raise EnvironmentTrouble(
                    f"checkpoint {self._where}/{name} could not be read ({error}); it may be well, and is left in "
                    f"place: see to its disk or network, and run the same command again"
                ) from error
            if isinstance(error, OSError):
                raise UsageError(
                    f"checkpoint {self._where}/{name} could not be read ({error}); it is left in place: see to it that "
                    f"you may read it"
                ) from error
            raise Damaged(str(error)) from error

    def _manifest(self, name: str) -> dict[str, Any]:
        return manifest.read(self._store.read(f"{CHECKPOINTS}/{name}/{MANIFEST}"), name)

    def clean(self) -> None:
        """Removes what a killed attempt left half-written."""
        self._store.clean(CHECKPOINTS)

    def _found(self) -> list[manifest.Listed]:
        """Checkpoints, newest first, whether they verify or not."""
        names = self._store.folders(CHECKPOINTS)
        return manifest.in_order([self._listed(name) for name in names if manifest.step_of(name) is not None])

    def _listed(self, name: str) -> manifest.Listed:
        with contextlib.suppress(Damaged, UsageError), self._reading(name):
            found = self._manifest(name)
            return manifest.Listed(name, found["step"], found["attempt"])
        return manifest.Listed(name, manifest.step_of(name) or 0, None)

    def _write_patiently(self, save: "_Save") -> None:
        started, pause = time.monotonic(), 0.5
        while True:
            try:
                return self._write(save)
            except (OSError, tf.errors.OpError) as error:
                if not of_environment(error) or time.monotonic() - started > self._patience or self._ends.is_set():
                    raise
                if pause == 0.5:
                    self._say(
                        f"warning: the checkpoint of step {save.step:,} could not be written ({error}): trying again"
                    )
            self._ends.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _write(self, save: "_Save") -> None:
        folder = self._store.unique(f"{CHECKPOINTS}/step_{save.step:08d}", self._attempt)
        with self._store.staging(folder) as staged:
            files = state_files.write(staged, save.values)
            (staged / MANIFEST).write_text(manifest.written(save.step, self._attempt, files, save.notes))
            self._store.deliver(staged, folder)
            save.before()
            with self._committing():
                self._store.publish(staged, folder)
                self._newest = save.step
                save.committed()
                self._store.discard([f"{CHECKPOINTS}/{old.name}" for old in self._found()[self._keep :]])


class _Save(NamedTuple):
    """One checkpoint to be written, see Checkpoints.save."""

    step: int
    values: dict[str, np.ndarray]
    notes: dict[str, Any]
    before: Callable[[], None]
    committed: Callable[[], None]


class ReadOnlyCheckpoints(Checkpoints):
    """Checkpoints that another process writes: rank 0, or another run."""

    def save(
        self,
        step: int,
        values: Mapping[str, np.ndarray],
        notes: Mapping[str, Any],
        before: Callable[[], None] = lambda: None,
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        pass

    def clean(self) -> None:
        pass
