"""The fence of an object store, which keeps no locks: objects that can be created once, by one of those who try.

    .writers/00000002    the second command that wrote here: who, and how often its heart has beaten
    .attempts/00000005   the fifth attempt, of whichever command

The highest number of each counts. A writer whose object does not change for _SILENCE is taken for dead, by a clock of
whoever looks. If it lives, and was only cut off, it finds a higher number before it begins an attempt or commits.

Between that look and the write that follows, another attempt can be claimed, unlike behind a lock. What is written then
is a checkpoint under a name of its own attempt, which no later one reads once it has one itself; or a file that only
informs.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator

from trainer.base.errors import UsageError
from trainer.storage.fence import Fence
from trainer.storage.objects import ObjectStore

_WRITERS, _ATTEMPTS, _PROBE = ".writers", ".attempts", ".probe"
_SECONDS_BETWEEN_BEATS, _SILENCE = 5.0, 25.0
_SECONDS_TO_SEE = 10.0


class ObjectFence(Fence):
    """The fence of an object store.

    Args:
      store: whose.
      locked: whether the launcher of this process is the writer, and holds the lock for it.
      unfenced: take the risk of a store that does not refuse to create an object twice.
      may_begin, attempts_known: see Fence.
      tell: called with a line for the user.
    """

    def __init__(
        self,
        store: ObjectStore,
        locked: bool = False,
        unfenced: bool = False,
        may_begin: Callable[[], bool] = lambda: True,
        attempts_known: Callable[[], int] = lambda: 0,
        tell: Callable[[str], None] = print,
    ):
        super().__init__(store.where, may_begin, attempts_known)
        self._store, self._locked, self._unfenced, self._tell = store, locked, unfenced, tell
        self._writer, self._has_written = 0, False  # its number, if this process is the writer
        self._token, self._ends = uuid.uuid4().hex, threading.Event()
        self._beating = threading.Thread(target=self._beat_on, daemon=True, name="writer")

    def require_free(self) -> None:
        with self._usable():
            if self._newest(_WRITERS):
                self._become_writer()

    def acquire(self) -> None:
        if self._locked or self._writer:
            return
        with self._usable():
            self._probe()
            self._become_writer()

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"--run_dir={self._where} cannot be used: {error.strerror or error}: name a bucket that exists, and "
                f"that you may read and write"
            ) from error

    def _probe(self) -> None:
        """Raises UsageError if the store creates an object that exists."""
        name = f"{_PROBE}/{self._token}"
        try:
            self._store.create(name, b"first")
            with contextlib.suppress(FileExistsError):
                self._store.create(name, b"second")
                if not self._unfenced:
                    raise UsageError(
                        f"--run_dir={self._where}: this store does not refuse to create an object that exists, so that "
                        f"two processes could write there at once: choose another store, or pass --allow_unfenced if "
                        f"you see to that yourself"
                    )
                self._tell(f"warning: {self._where} does not keep out a second writer: see to it that there is one")
        finally:
            self._store.remove(name)

    def _become_writer(self) -> None:
        if self._writer:
            return
        number = self._newest(_WRITERS)
        if number and (holder := self._living(number)):
            raise UsageError(
                f"--run_dir={self._where} is in use by {holder}: wait for it to end, stop it, or choose another run_dir"
            )
        try:
            self._store.create(_name(_WRITERS, number + 1), self._beat(0))
        except FileExistsError:
            raise UsageError(
                f"--run_dir={self._where} is in use by another process, which has just started: wait for it to end, "
                f"stop it, or choose another run_dir"
            ) from None
        self._writer = number + 1
        self._beating.start()

    def _beat(self, number: int) -> bytes:
        """The content of the writer's object; number: of the heartbeat, -1 for the last one."""
        who = f"process {os.getpid()} on {socket.gethostname()}"
        return json.dumps({"who": who, "beat": number, "token": self._token}).encode()

    def _beat_on(self) -> None:
        number = 0
        while not self._ends.wait(_SECONDS_BETWEEN_BEATS):
            number += 1
            with contextlib.suppress(OSError):  # what is not seen for too long is taken over; then nothing is committed
                self._store.write(_name(_WRITERS, self._writer), self._beat(number))

    def release(self) -> None:
        if self._writer and not self._ends.is_set():
            self._ends.set()
            self._beating.join()
            with contextlib.suppress(OSError):
                self._store.write(_name(_WRITERS, self._writer), self._beat(-1))

    def _living(self, number: int) -> str:
        """Who the writer of a number is, if it lives; '' if not. Waits until its heart has beaten, or does not."""
        deadline, first, told = time.monotonic() + _SILENCE, None, False
        while time.monotonic() < deadline:
            content = self._store.read(_name(_WRITERS, number))
            who, beat = _read_beat(content)
            if beat < 0:
                return ""
            if first is not None and content != first:
                return who
            if not told:
                self._tell(f"waiting for up to {_SILENCE:.0f} s to see whether {who} still writes to {self._where}")
            first, told = content, True
            time.sleep(1.0)
        return ""

    def exists(self) -> bool:
        return bool(self._store.sizes())

    @property
    def has_begun(self) -> bool:
        return self._newest(_ATTEMPTS) > 0

    def claim(self) -> int:
        number = self._newest(_ATTEMPTS) or self._attempts_known()
        # After that look: whoever becomes the writer now claims the same number, or a higher one.
        if not self._may_begin() or (self._writer and self._newest(_WRITERS) != self._writer):
            raise self._too_late()
        try:
            self._store.create(_name(_ATTEMPTS, number + 1), json.dumps({"token": self._token}).encode())
        except FileExistsError:
            raise self._too_late() from None
        self.attempt = number + 1
        return self.attempt

    def give_back(self) -> None:
        if self.attempt and not self._has_written and self._newest(_ATTEMPTS) == self.attempt:
            self._store.remove(_name(_ATTEMPTS, self.attempt))

    def withdraw(self) -> None:
        self._ends.set()
        if self._writer:
            self._beating.join()
        for name in self._store.sizes():
            self._store.remove(name)

    def sees(self, attempt: int) -> bool:
        deadline = time.monotonic() + _SECONDS_TO_SEE
        while time.monotonic() < deadline:
            if self._newest(_ATTEMPTS) >= attempt:
                return True
            time.sleep(0.5)
        return False

    @contextlib.contextmanager
    def committing(self) -> Iterator[None]:
        newest = self._newest(_ATTEMPTS)
        if newest != self.attempt:
            raise self._over(newest)
        self._has_written = True
        yield

    def _newest(self, folder: str) -> int:
        numbers = (name.rpartition("/")[2] for name in self._store.sizes(folder))
        return max((int(number) for number in numbers if number.isdecimal()), default=0)


def _read_beat(content: bytes) -> tuple[str, int]:
    """Who a writer is, and its heartbeat."""
    try:
        found = json.loads(content)
        return str(found["who"]), int(found["beat"])
    except (ValueError, KeyError, TypeError):  # by another version; whether it changes can be seen all the same
        return "another process", 0


def _name(folder: str, number: int) -> str:
    return f"{folder}/{number:08d}"
