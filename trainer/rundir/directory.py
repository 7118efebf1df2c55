"""The run directory, a folder or a place on an object store: the small files in it, and who may write them.

    config.gin  operative_config.gin  checkpoints/  tensorboard/  images/  logs/  report.json
    .journal    how far the newest attempt has come, and where its seconds went, as of about a second ago
    .lock, .fence; or .writers/, .attempts/: see storage/local_fence.py and storage/object_fence.py

Checkpoints and event files have modules of their own (checkpoints.py, observe/summaries.py).
"""

import contextlib
import functools
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainer.base.errors import EnvironmentTrouble, UsageError, of_environment
from trainer.storage.fence import Fence
from trainer.storage.local import LocalStore
from trainer.storage.local_fence import LocalFence
from trainer.storage.object_fence import ObjectFence
from trainer.storage.objects import ObjectStore
from trainer.storage.store import Store
from trainer.storage.working import Working, working

CONFIG = "config.gin"
CHECKPOINTS, FEATURES, LOGS, TENSORBOARD = "checkpoints", "features", "logs", "tensorboard"
_REPORT, _JOURNAL = "report.json", ".journal"
# What a resume needs from the report.
_COUNTS = ("step", "total_steps", "attempts")


class RunDirectory:
    """One run's directory; nothing is created before `acquire`.

    Args:
      place: a folder, which need not exist, or the URL of a place on an object store.
      locked: whether the launcher of this process holds the lock already.
      may_begin: whether this process may begin an attempt, by what its launcher knows; asked within the fence.
      unfenced: take the risk of an object store that does not keep out a second writer.

    Attributes:
      where: the place, for messages.
      store: its files.

    Raises:
      UsageError: the URL is not one that can be used.
    """

    def __init__(
        self,
        place: str | os.PathLike[str],
        locked: bool = False,
        may_begin: Callable[[], bool] = lambda: True,
        unfenced: bool = False,
    ):
        self.store, self._fence = _open(place, locked, may_begin, unfenced, self._attempts_reported)
        self.where = self.store.where

    @property
    def path(self) -> Path:
        """The folder on this machine for what libraries write by themselves, see storage/working.py."""
        return self._working.path

    @property
    def attempt(self) -> int:
        """The number of this process's attempt, once it is claimed; 0 before."""
        return self._fence.attempt

    @functools.cached_property
    def _working(self) -> Working:
        return working(self.store)

    def has_checkpoints(self) -> bool:
        """Whether anything was ever saved here, damaged or not."""
        return any(name.startswith(f"{CHECKPOINTS}/step_") for name in self.store.sizes(CHECKPOINTS))

    def exists(self) -> bool:
        """Whether there is anything there, of this run or not."""
        return self._fence.exists()

    @property
    def has_begun(self) -> bool:
        """Whether an attempt has ever begun here, so that there may be something to read."""
        return self._fence.has_begun or bool(self.read_report()) or self.has_checkpoints()

    def require_free(self) -> None:
        """Raises UsageError if another live process trains in this directory.

        Takes the lock if a run has used the directory before; creates no directory.
        """
        self._fence.require_free()

    def acquire(self) -> None:
        """Creates the directory and becomes its only writer, until this process ends, however it ends.

        Raises:
          UsageError: it cannot be written to, or another live process is its writer.
        """
        self._fence.acquire()

    def claim(self) -> int:
        """Begins an attempt: from now on it alone may write, and no process of an earlier one that still lives.

        Call it before anything is read, so that nobody can write afterwards what was not read.

        Returns: the attempt's number, from 1.

        Raises:
          TrainingError: this process is not the one that may begin an attempt now, however late it came to ask.
        """
        return self._fence.claim()

    def give_back(self) -> None:
        """Undoes `claim` if nothing was written since: the attempt has not begun."""
        self._fence.give_back()

    def is_claimed(self, attempt: int) -> bool:
        """Whether this process sees that `attempt` or a later one was claimed; waits up to 10 s, for network shares."""
        return self._fence.sees(attempt)

    def committing(self) -> contextlib.AbstractContextManager[None]:
        """A context in which this attempt changes the directory.

        Raises:
          TrainingError: another attempt has been claimed since.
        """
        return self._fence.committing()

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """A context in which this attempt writes in `path`; raises as `committing`."""
        return self._working.writing(self.committing)

    def shown(self, path: Path) -> str:
        """A path for people: one in `path` as it is found in the directory."""
        return f"{self.where}/{path.relative_to(self.path)}" if path.is_relative_to(self.path) else str(path)

    def log(self, name: str, part: str) -> Path:
        """A file in `path` for a log, which one process appends to.

        Args:
          part: differs from any other process's: where nothing can be appended, each has a file of its own.
        """
        path = self.path / LOGS / self._working.log(name, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def keep_sending(self, committing: Callable[[], contextlib.AbstractContextManager[None]] | None = None) -> None:
        """From now on what is written in `path` is seen in the directory every few seconds, wherever that is.

        Args:
          committing: a context in which it is sent; None: of this attempt.
        """
        self._working.keep_sending(committing or self.committing)

    def send(self, committing: Callable[[], contextlib.AbstractContextManager[None]] | None = None) -> None:
        """What was written in `path` so far is seen in the directory; committing: as above.

        Raises:
          OSError: it could not be sent; it is tried again.
          TrainingError: another attempt has been claimed since.
        """
        self._working.send(committing or self.committing)

    def fetch(self, folder: str) -> None:
        """Makes the files of a folder of the directory stand in `path`, too, as far as none are there."""
        self._working.fetch(folder)

    def write(self, name: str, text: str) -> None:
        """Writes a small file: a reader sees the old or the new text, never half of it.

        Raises:
          TrainingError: another attempt has been claimed since.
        """
        with self.committing():
            self.store.write(name, text.encode())

    def local_copy(self, name: str) -> Path:
        """A file of the directory as one on this machine, which does not exist if there is none; not to be written."""
        return self._working.copy(name)

    def close(self) -> None:
        """This process is done with the directory, and its writer no more."""
        if "_working" in vars(self):  # or nobody has asked for it
            self._working.close()
        self.store.close()
        self._fence.release()

    def withdraw(self) -> None:
        """Removes a directory that this process has made, and in which no attempt has begun."""
        self._working.close()
        self._fence.withdraw()

    def _read(self, name: str) -> bytes | None:
        try:
            return self.store.read(name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if of_environment(error):
                raise EnvironmentTrouble(f"{self.where}/{name} could not be read ({error})") from error
            raise UsageError(f"{self.where}/{name} cannot be read ({error}): see to it that you may read it") from error

    def read_report(self) -> dict[str, Any]:
        """The contents of report.json; empty before the first attempt.

        Raises:
          UsageError: it cannot be read, or lacks what a resume needs.
          EnvironmentTrouble: it could not be read for a reason that may pass.
        """
        content = self._read(_REPORT)
        if content is None:
            return {}
        try:
            report = json.loads(content)
            if not isinstance(report, dict) or any(type(report.get(name)) is not int for name in _COUNTS):
                raise ValueError(f"it lacks one of {', '.join(_COUNTS)}")
            return report
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self.where}/{_REPORT} cannot be read ({error}): restore or remove it") from error

    def read_journal(self) -> dict[str, Any]:
        """The newest entry of the journal; empty if there is none."""
        try:
            entry: dict[str, Any] = json.loads(self.store.read(_JOURNAL))
            return entry
        except (OSError, ValueError):  # only statistics depend on it, so it need not be repaired
            return {}

    def write_journal(self, entry: dict[str, Any]) -> None:
        """Replaces the journal's entry, see Goodput.keep_journal."""
        with self.writing():
            LocalStore(self.path).write(_JOURNAL, json.dumps(entry).encode() + b"\n", durable=False)

    def write_report(self, report: dict[str, Any]) -> None:
        """Writes report.json; numbers that are not finite become null."""
        self.write(_REPORT, json.dumps(_without_nan(report), indent=1, allow_nan=False) + "\n")

    def _attempts_reported(self) -> int:
        attempts: int = self.read_report().get("attempts", 0)
        return attempts


def _open(
    place: str | os.PathLike[str],
    locked: bool,
    may_begin: Callable[[], bool],
    unfenced: bool,
    attempts_known: Callable[[], int],
) -> tuple[Store, Fence]:
    if "://" in os.fspath(place):
        objects = ObjectStore(os.fspath(place))
        return objects, ObjectFence(objects, locked, unfenced, may_begin, attempts_known)
    folder = Path(place).expanduser().absolute()
    return LocalStore(folder), LocalFence(folder, locked, may_begin, attempts_known)


class ReadOnlyRunDirectory(RunDirectory):
    """The run directory on ranks other than rank 0, which does all the writing."""

    def acquire(self) -> None:
        pass

    def give_back(self) -> None:
        pass

    @contextlib.contextmanager
    def committing(self) -> Iterator[None]:
        yield

    def write(self, name: str, text: str) -> None:
        pass

    def write_journal(self, entry: dict[str, Any]) -> None:
        pass


def _without_nan(value: Any) -> Any:
    """Replaces NaN and infinities, which JSON does not have, by null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
