"""The run directory: who may write to it, and the small files in it.

    config.gin  operative_config.gin  checkpoints/  tensorboard/  logs/  report.json
    .lock     held by the one live command;  .fence: which attempt may write, locked by whoever writes
    .journal  how far the newest attempt has come, and where its seconds went, as of about a second ago

Checkpoints and event files have modules of their own (checkpoints.py, observe/summaries.py).
"""

import contextlib
import fcntl
import json
import math
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from trainer.base.errors import EnvironmentTrouble, TrainingError, UsageError, of_environment
from trainer.storage import atomic

_FENCE, _JOURNAL = ".fence", ".journal"
# Of the one line in the fence, in bytes.
_LENGTH = 20

_SECONDS_TO_SEE = 10.0

# What a resume needs from report.json.
_COUNTS = ("step", "total_steps", "attempts")


class RunDirectory:
    """One run's directory; nothing is created before `acquire`.

    Args:
      path: the directory, which need not exist.
      locked: whether the launcher of this process holds the lock already.
      may_begin: whether this process may begin an attempt, by what its launcher knows; asked within the fence.

    Attributes:
      attempt: the number of this process's attempt, once it is claimed; 0 before.

    Raises:
      UsageError: `path` is a URL.
    """

    def __init__(
        self, path: str | os.PathLike[str], locked: bool = False, may_begin: Callable[[], bool] = lambda: True
    ):
        if "://" in str(path):
            raise UsageError(f"--run_dir={path}: give a folder on this machine or on a mounted share")
        self.path = Path(path).expanduser().absolute()
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.config = self.path / "config.gin"
        self.logs = self.path / "logs"
        self.attempt = 0
        self._lock: IO[str] | None = None
        self._locked, self._may_begin = locked, may_begin
        self._within, self._has_written = threading.RLock(), False
        self._fence: int | None = None

    def has_checkpoints(self) -> bool:
        """Whether anything was ever saved here, damaged or not."""
        return any(self.checkpoints.glob("step_*"))

    def require_free(self) -> None:
        """Raises UsageError if another live process trains in this directory.

        Takes the lock if a run has used the directory before; creates no directory.
        """
        try:
            taken_before = (self.path / ".lock").exists() or self.config.exists()
        except OSError as error:
            raise self._unwritable(error) from error
        if taken_before:
            self._take_lock()

    def acquire(self) -> None:
        """Creates the directory and becomes its only writer, until this process ends, however it ends.

        Raises:
          UsageError: it cannot be written to, or another live process is its writer.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self._lock is None and not self._locked:
                self._take_lock()
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(
            f"--run_dir={self.path} cannot be written to: {error.strerror}: name a folder that is new or yours, on a "
            f"disk that can be written to"
        )

    def _take_lock(self) -> None:
        try:
            lock = open(self.path / ".lock", "a+")  # noqa: SIM115  (held as long as the process lives)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UsageError(
                f"--run_dir={self.path} is in use by {lock.read().strip() or 'another process'}: wait for it to end, "
                f"stop it, or choose another run_dir"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        self._lock = lock

    @property
    def has_begun(self) -> bool:
        """Whether an attempt has ever begun here, so that there may be something to read."""
        return (self.path / _FENCE).exists() or (self.path / "report.json").exists() or self.has_checkpoints()

    def claim(self) -> int:
        """Begins an attempt: from now on it alone may write, and no process of an earlier one that still lives.

        Call it before anything is read, so that nobody can write afterwards what was not read.

        Returns: the attempt's number, from 1.

        Raises:
          TrainingError: this process is not the one that may begin an attempt now, however late it came to ask.
        """
        with self._fenced() as fence:
            if not self._may_begin() or not self._has_its_lock():
                raise TrainingError(f"this process may no longer begin an attempt at {self.path}: another one has")
            self.attempt = self._newest_attempt(fence) + 1
            _note_attempt(fence, self.attempt)
        return self.attempt

    def _has_its_lock(self) -> bool:
        """Whether the lock that this process holds, if it holds one, is still the one that others meet."""
        with contextlib.suppress(OSError):
            return self._lock is None or os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self.path / ".lock"))
        return False

    def give_back(self) -> None:
        """Undoes `claim` if nothing was written since: the attempt has not begun."""
        if not self.attempt or self._has_written:
            return
        with self._fenced() as fence:
            if self._newest_attempt(fence) == self.attempt:
                _note_attempt(fence, self.attempt - 1)

    def _newest_attempt(self, fence: int) -> int:
        """The number in the fence; if it was lost, or not copied with the rest, that of the report."""
        try:
            return int(os.pread(fence, _LENGTH, 0))
        except ValueError:
            newest: int = self.read_report().get("attempts", 0)
            return newest

    def is_claimed(self, attempt: int) -> bool:
        """Whether this process sees that `attempt` or a later one was claimed; waits up to 10 s, for network shares."""
        deadline = time.monotonic() + _SECONDS_TO_SEE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                if int((self.path / _FENCE).read_text()) >= attempt:
                    return True
            time.sleep(0.1)
        return False

    @contextlib.contextmanager
    def committing(self) -> Iterator[None]:
        """Within this context no other attempt can be claimed; whatever changes the directory happens in it.

        Raises:
          TrainingError: another attempt has been claimed since.
        """
        with self._fenced() as fence:
            newest = self._newest_attempt(fence)
            if newest != self.attempt:
                raise TrainingError(
                    f"attempt {self.attempt} at {self.path} is over, since attempt {newest} has begun: not saved"
                )
            self._has_written = True
            yield

    @contextlib.contextmanager
    def _fenced(self) -> Iterator[int]:
        """Yields the descriptor of the fence, which nobody else has meanwhile."""
        with self._within:  # threads of this process take turns, and one may write within what it writes
            if self._fence is not None:
                yield self._fence
                return
            self._fence = os.open(self.path / _FENCE, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._fence, fcntl.LOCK_EX)
                yield self._fence
            finally:
                os.close(self._fence)
                self._fence = None

    def write(self, name: str, text: str) -> None:
        """Writes a small file atomically: a reader sees the old or the new text, never half of it.

        Raises:
          TrainingError: another attempt has been claimed since.
        """
        with self.committing():
            self._replace(name, text)

    def _replace(self, name: str, text: str) -> None:
        with atomic.replacing(self.path / name) as file:
            file.write_text(text)

    def read_report(self) -> dict[str, Any]:
        """The contents of report.json; empty before the first attempt.

        Raises:
          UsageError: it cannot be read, or lacks what a resume needs.
          EnvironmentTrouble: it could not be read for a reason that may pass.
        """
        try:
            report = json.loads((self.path / "report.json").read_text())
            if not isinstance(report, dict) or any(type(report.get(name)) is not int for name in _COUNTS):
                raise ValueError(f"it lacks one of {', '.join(_COUNTS)}")
            return report
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as error:
            if of_environment(error):
                raise EnvironmentTrouble(f"{self.path / 'report.json'} could not be read ({error})") from error
            raise UsageError(f"{self.path / 'report.json'} cannot be read ({error}): restore or remove it") from error

    def read_journal(self) -> dict[str, Any]:
        """The newest entry of the journal; empty if there is none."""
        try:
            entry: dict[str, Any] = json.loads((self.path / _JOURNAL).read_text())
            return entry
        except (OSError, ValueError):  # only statistics depend on it, so it need not be repaired
            return {}

    def write_journal(self, entry: dict[str, Any]) -> None:
        """Replaces the journal's entry, see Goodput.keep_journal."""
        self.write(_JOURNAL, json.dumps(entry) + "\n")

    def write_report(self, report: dict[str, Any]) -> None:
        """Writes report.json; numbers that are not finite become null."""
        self.write("report.json", json.dumps(_without_nan(report), indent=1, allow_nan=False) + "\n")


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


def _note_attempt(fence: int, number: int) -> None:
    # Always as long as the line before, which it replaces: no crash leaves half of it.
    os.pwrite(fence, b"%*d\n" % (_LENGTH - 1, number), 0)
    os.fsync(fence)


def _without_nan(value: Any) -> Any:
    """Replaces NaN and infinities, which JSON does not have, by null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
