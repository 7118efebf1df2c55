"""The run directory: who may write to it, and the small files in it.

    config.gin  operative_config.gin  checkpoints/  tensorboard/  report.json  .lock

Checkpoints and event files have modules of their own.
"""

import fcntl
import json
import math
import os
import socket
import tempfile
from pathlib import Path
from typing import IO, Any

from trainer.errors import UsageError

# What a resume reads in report.json.
_COUNTS = ("step", "total_steps", "attempts")


class RunDirectory:
    """One run's directory; nothing is created before `acquire`."""

    def __init__(self, path: str | os.PathLike):
        if "://" in str(path):
            raise UsageError(f"--run_dir={path}: give a folder on this machine or on a mounted share")
        self.path = Path(path).expanduser().absolute()
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.config = self.path / "config.gin"
        self._lock: IO[str] | None = None

    def has_checkpoints(self) -> bool:
        """Whether anything was ever saved here, damaged or not."""
        return any(self.checkpoints.glob("step_*"))

    def require_free(self) -> None:
        """Raises UsageError if another live process is training in this directory. Writes nothing."""
        try:
            taken_before = (self.path / ".lock").exists() or self.config.exists()
        except OSError as error:
            raise UsageError(f"--run_dir={self.path} cannot be written to: {error.strerror}") from error
        if taken_before:
            self._take_lock()

    def acquire(self) -> None:
        """Makes the directory and becomes its one writer, until this process ends, however it ends.

        Raises:
          UsageError: it cannot be written to, or another live process has it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self._lock is None:
                self._take_lock()
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise UsageError(f"--run_dir={self.path} cannot be written to: {error.strerror}") from error

    def _take_lock(self) -> None:
        try:
            lock = open(self.path / ".lock", "a+")  # noqa: SIM115  (held as long as the process lives)
        except OSError as error:
            raise UsageError(f"--run_dir={self.path} cannot be written to: {error.strerror}") from error
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

    def write(self, name: str, text: str) -> None:
        """Writes a small file so that a reader sees the old or the new one, never half of it."""
        path = self.path / name
        temporary = path.with_name(f".{name}.{os.getpid()}")
        temporary.write_text(text)
        temporary.replace(path)

    def read_report(self) -> dict[str, Any]:
        """What report.json says; empty before the first attempt."""
        try:
            report = json.loads((self.path / "report.json").read_text())
            if not isinstance(report, dict) or any(type(report.get(name)) is not int for name in _COUNTS):
                raise ValueError(f"it lacks one of {', '.join(_COUNTS)}")
            return report
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.path / 'report.json'} cannot be read ({error}): restore or remove it") from error

    def write_report(self, report: dict[str, Any]) -> None:
        self.write("report.json", json.dumps(_without_nan(report), indent=1, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    """JSON has no word for what is not a finite number; null is the nearest."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
