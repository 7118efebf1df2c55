"""A folder on this machine in which libraries write files of a store by themselves: events, logs, pictures.

Of a local store it is the store's own folder. Of an object store it is a temporary one, whose files are sent when they
have changed: every few seconds, and whenever somebody asks. What was written last may be lost with the machine; these
files only inform.
"""

import contextlib
import re
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from trainer.base.errors import TrainingError
from trainer.storage.local import LocalStore
from trainer.storage.objects import ObjectStore
from trainer.storage.store import Store

_SECONDS_BETWEEN = 15.0
# As storage/atomic.py names what is being written.
_UNFINISHED = re.compile(r"\.[0-9a-f]{8}\.")


# A context in which this process may write to the store; raises if it may not any more.
_Committing = Callable[[], contextlib.AbstractContextManager[None]]


class Working:
    """The folder of a local store.

    Attributes:
      path: the folder; it need not exist.
    """

    def __init__(self, path: Path):
        self.path = path

    def close(self) -> None:
        """Removes the folder, if it is a temporary one."""

    def writing(self, committing: _Committing) -> contextlib.AbstractContextManager[None]:
        """A context in which this process may write here."""
        return committing()

    def keep_sending(self, committing: _Committing) -> None:
        """From now on sends by itself what has changed."""

    def send(self, committing: _Committing) -> None:
        """Sends what has changed since the last time.

        Raises:
          OSError: the store did not take it.
        """

    def log(self, name: str, part: str) -> str:
        """The name of a log's file; part: of the process that writes it."""
        return f"{name}.log"

    def fetch(self, folder: str) -> None:
        """Fetches the files in a folder of the store that are not here yet."""

    def copy(self, name: str) -> Path:
        """A file of the store as it is now, here; it does not exist if there is none."""
        return self.path / name


class RemoteWorking(Working):
    """The folder for an object store."""

    def __init__(self, store: ObjectStore):
        super().__init__(Path(tempfile.mkdtemp(prefix="convoy.")))
        self._store, self._sent = store, dict[str, tuple[int, int]]()
        self._lock, self._ends, self._sending = threading.Lock(), threading.Event(), False

    def close(self) -> None:
        self._ends.set()
        with self._lock:
            shutil.rmtree(self.path, ignore_errors=True)

    def writing(self, committing: _Committing) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # nobody else sees this folder

    def keep_sending(self, committing: _Committing) -> None:
        if not self._sending:
            self._sending = True
            threading.Thread(target=self._send_on, args=(committing,), daemon=True, name="sending").start()

    def _send_on(self, committing: _Committing) -> None:
        while not self._ends.wait(_SECONDS_BETWEEN):
            # What is not sent now is sent the next time, and an attempt that is over is told so where it saves.
            with contextlib.suppress(OSError, TrainingError):
                self.send(committing)

    def send(self, committing: _Committing) -> None:
        with self._lock:
            changed = {file: state for file in self._files() if self._sent.get(file) != (state := self._state(file))}
            if not changed:
                return
            with committing():
                for name, state in changed.items():
                    self._store.send(self.path / name, name)
                    self._sent[name] = state

    def _files(self) -> list[str]:
        """All but those that are being written under another name."""
        files = (path for path in self.path.rglob("*") if path.is_file())
        return [file.relative_to(self.path).as_posix() for file in files if not _UNFINISHED.match(file.name)]

    def _state(self, name: str) -> tuple[int, int]:
        known = (self.path / name).stat()
        return known.st_size, known.st_mtime_ns

    def log(self, name: str, part: str) -> str:
        return f"{name}.{part[:8]}.log"

    def fetch(self, folder: str) -> None:
        for name in self._store.sizes(folder):
            if not (self.path / name).exists():
                self._store.fetch(name, self.path / name)
                self._sent[name] = self._state(name)

    def copy(self, name: str) -> Path:
        with self._lock, contextlib.suppress(FileNotFoundError):
            self._store.fetch(name, self.path / name)
            self._sent[name] = self._state(name)
        return self.path / name


def working(store: Store) -> Working:
    """The folder for a store."""
    if isinstance(store, ObjectStore):
        return RemoteWorking(store)
    assert isinstance(store, LocalStore)
    return Working(store.plain)
