"""A folder on this machine or on a mounted share, as a Store. Everything appears by renaming, which is atomic there."""

import contextlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from trainer.base.liveness import progressed
from trainer.storage import atomic
from trainer.storage.patience import patiently
from trainer.storage.store import Store

# Hidden folders: one that is being written, and one that is being removed.
_STAGED, _DOOMED = ".staged", ".old"
_PLAIN = re.compile(r"[\w./ +=,:@%~-]+", re.ASCII)
_HIDDEN = re.compile(rf"\..*\.[0-9a-f]{{8}}({re.escape(_STAGED)}|{re.escape(_DOOMED)})$")


class LocalStore(Store):
    """The files below a folder, which need not exist.

    Args:
      root: the folder.
      patience: how long a read is tried again that fails for a reason that may pass, in seconds.
    """

    def __init__(self, root: Path, patience: float = 10.0):
        self.root, self.where, self._patience = root, str(root), patience
        self._links: Path | None = None

    @property
    def plain(self) -> Path:
        """The root by a name that every library takes literally: TensorFlow has patterns, and wants UTF-8."""
        if _PLAIN.fullmatch(self.where):
            return self.root
        if self._links is None:
            self._links = Path(tempfile.mkdtemp(prefix="convoy."))
            (self._links / "run").symlink_to(self.root)
        return self._links / "run"

    def close(self) -> None:
        if self._links is not None:
            shutil.rmtree(self._links, ignore_errors=True)

    def read(self, name: str) -> bytes:
        return patiently((self.root / name).read_bytes, self._patience)

    def write(self, name: str, content: bytes, durable: bool = True) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(path) as file:
            file.write_bytes(content)
            if durable:
                self._sync(file)
        if durable:
            self._sync(path.parent)

    def cut(self, name: str, length: int) -> None:
        with (self.root / name).open("rb") as file:
            self.write(name, file.read(length))

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def sizes(self, folder: str = "") -> dict[str, int]:
        return patiently(lambda: self._sizes(folder), self._patience)

    def _sizes(self, folder: str) -> dict[str, int]:
        found = {}
        for parent, _, names in os.walk(self.root / folder, onerror=_raise):
            for path in (Path(parent, name) for name in names):
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    found[path.relative_to(self.root).as_posix()] = path.stat().st_size
        return found

    def folders(self, folder: str) -> list[str]:
        return patiently(lambda: self._folders(folder), self._patience)

    def _folders(self, folder: str) -> list[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                return [entry.name for entry in entries if entry.is_dir() and not _HIDDEN.match(entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    @contextlib.contextmanager
    def staging(self, folder: str) -> Iterator[Path]:
        final = self.plain / folder
        staged = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}{_STAGED}")
        (self.root / folder).parent.mkdir(parents=True, exist_ok=True)  # not through a link that leads nowhere yet
        staged.mkdir()
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def deliver(self, staged: Path, folder: str) -> None:
        for path in (*staged.rglob("*"), staged):  # the data, then the folder's own entries
            self._sync(path)

    def publish(self, staged: Path, folder: str) -> None:
        final = self.root / folder
        with self._discarding([final] if final.exists() else []):
            staged.rename(final)
            self._sync(final.parent)

    @contextlib.contextmanager
    def fetched(self, folder: str) -> Iterator[Path]:
        if not (self.root / folder).is_dir():
            raise FileNotFoundError(f"there is no {self.root / folder}")
        yield self.plain / folder

    def set_aside(self, folder: str) -> str:
        path = self.root / folder
        aside = path.with_name(path.name + ".corrupt")
        candidates = [aside, *(path.with_name(f"{aside.name}.{i}") for i in range(2, 1000))]
        unused = next(candidate for candidate in candidates if not candidate.exists())
        path.rename(unused)
        self._sync(path.parent)
        return str(unused)

    def discard(self, folders: Iterable[str]) -> None:
        with self._discarding([self.root / folder for folder in folders]):
            pass

    @contextlib.contextmanager
    def _discarding(self, paths: Iterable[Path]) -> Iterator[None]:
        """Hides folders at once, and removes them, which takes longer, at the end of the context."""
        hidden = []
        for path in paths:
            hidden.append(path.rename(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{_DOOMED}")))
        yield
        for path in hidden:
            shutil.rmtree(path, ignore_errors=True)

    def clean(self, folder: str) -> None:
        for name in os.listdir(self.root / folder) if (self.root / folder).is_dir() else ():
            if _HIDDEN.match(name):
                shutil.rmtree(self.root / folder / name, ignore_errors=True)

    def unique(self, folder: str, attempt: int) -> str:
        return folder  # whoever publishes does so within the fence

    def room(self) -> str:
        try:
            return f", which has {shutil.disk_usage(self.root).free:,} bytes free"
        except OSError:  # it does not answer
            return ""

    def _sync(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            progressed()
        finally:
            os.close(descriptor)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
