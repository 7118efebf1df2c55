"""The fence of a folder: two files that the system locks, on this machine or on a share whose server keeps locks.

.lock    held by the one live writer
.fence   the number of the newest attempt; locked by whoever writes
"""

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from trainer.base.errors import UsageError
from trainer.storage.fence import Fence

_LOCK, _FENCE = ".lock", ".fence"
# Of the one line in the fence, in bytes.
_LENGTH = 20
# What another machine has written may be seen late on a share.
_SECONDS_TO_SEE = 10.0


class LocalFence(Fence):
    """The fence of a folder.

    Args:
      root: the folder.
      locked: whether the launcher of this process holds the lock already.
      may_begin, attempts_known: see Fence.
    """

    def __init__(
        self,
        root: Path,
        locked: bool = False,
        may_begin: Callable[[], bool] = lambda: True,
        attempts_known: Callable[[], int] = lambda: 0,
    ):
        super().__init__(str(root), may_begin, attempts_known)
        self._root, self._locked = root, locked
        self._lock: IO[str] | None = None
        self._within, self._has_written = threading.RLock(), False
        self._fence: int | None = None

    def require_free(self) -> None:
        try:
            taken_before = (self._root / _LOCK).exists()
        except OSError as error:
            raise self._unwritable(error) from error
        if taken_before:
            self._take_lock()

    def acquire(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            if self._lock is None and not self._locked:
                self._take_lock()
            with tempfile.TemporaryFile(dir=self._root):
                pass
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(
            f"--run_dir={self._where} cannot be written to: {error.strerror}: name a folder that is new or yours, on a "
            f"disk that can be written to"
        )

    def _take_lock(self) -> None:
        try:
            lock = open(self._root / _LOCK, "a+")  # noqa: SIM115  (held as long as the process lives)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UsageError(
                f"--run_dir={self._where} is in use by {lock.read().strip() or 'another process'}: wait for it to end, "
                f"stop it, or choose another run_dir"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        self._lock = lock

    def exists(self) -> bool:
        return self._root.exists()

    @property
    def has_begun(self) -> bool:
        return (self._root / _FENCE).exists()

    def claim(self) -> int:
        with self._fenced() as fence:
            if not self._may_begin() or not self._has_its_lock():
                raise self._too_late()
            self.attempt = self._newest(fence) + 1
            _note(fence, self.attempt)
        return self.attempt

    def _has_its_lock(self) -> bool:
        """Whether the lock that this process holds, if it holds one, is still the one that others meet."""
        with contextlib.suppress(OSError):
            return self._lock is None or os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self._root / _LOCK))
        return False

    def give_back(self) -> None:
        if not self.attempt or self._has_written:
            return
        with self._fenced() as fence:
            if self._newest(fence) == self.attempt:
                _note(fence, self.attempt - 1)

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def withdraw(self) -> None:
        shutil.rmtree(self._root)

    def _newest(self, fence: int) -> int:
        """The number in the fence; if it was lost, or not copied with the rest, the one that is known otherwise."""
        try:
            return int(os.pread(fence, _LENGTH, 0))
        except ValueError:
            return self._attempts_known()

    def sees(self, attempt: int) -> bool:
        deadline = time.monotonic() + _SECONDS_TO_SEE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                if int((self._root / _FENCE).read_text()) >= attempt:
                    return True
            time.sleep(0.1)
        return False

    @contextlib.contextmanager
    def committing(self) -> Iterator[None]:
        """Within this context no other attempt can be claimed."""
        with self._fenced() as fence:
            newest = self._newest(fence)
            if newest != self.attempt:
                raise self._over(newest)
            self._has_written = True
            yield

    @contextlib.contextmanager
    def _fenced(self) -> Iterator[int]:
        """Yields the descriptor of the fence, which nobody else has meanwhile."""
        with self._within:  # threads of this process take turns, and one may write within what it writes
            if self._fence is not None:
                yield self._fence
                return
            self._fence = os.open(self._root / _FENCE, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._fence, fcntl.LOCK_EX)
                yield self._fence
            finally:
                os.close(self._fence)
                self._fence = None


def _note(fence: int, number: int) -> None:
    # Always as long as the line before, which it replaces: no crash leaves half of it.
    os.pwrite(fence, b"%*d\n" % (_LENGTH - 1, number), 0)
    os.fsync(fence)
