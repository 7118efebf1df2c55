"""An object store as a Store: s3:// by s3fs, gs:// by gcsfs. Nothing can be renamed there, and two writers can meet.

So a folder is published by its MANIFEST: it is written last, and the store refuses it if there is one already. A folder
without one does not count. The names of folders carry the attempt, so that one that is over, and does not know it yet,
writes and removes nothing of a later one.

Of an operation whose answer is lost nobody knows whether it took place. All here can be done twice but the creation of
an object: if it exists, it is ours if it has our content, which therefore differs from anybody else's.
"""

import contextlib
import errno
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from trainer.base.errors import UsageError
from trainer.base.liveness import progressed
from trainer.storage.patience import patiently
from trainer.storage.store import MANIFEST, Store

# How long a store that does not answer is asked again.
_PATIENCE = 60.0
# Files are sent and fetched in pieces of this size, so many at a time: memory holds no more of them.
_PIECE, _AT_ONCE = 16 << 20, 4
# A store that says nothing for so long, in seconds, is asked anew.
_SILENCE = 20
_EXTRAS = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gs")}
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": _SILENCE, "read_timeout": _SILENCE, "retries": {"max_attempts": 0}}},
    "gs": {"timeout": _SILENCE},
}


def open_filesystem(url: str) -> tuple[Any, str]:
    """Returns the fsspec file system of a URL, and the path in it.

    Raises:
      UsageError: the scheme is not known, the package for it is not installed, or the URL names no bucket.
    """
    scheme, _, path = url.partition("://")
    if scheme not in _EXTRAS:
        raise UsageError(f"{url}: there is no {scheme}:// here: name a folder, or a place on s3:// or gs://")
    if not path.strip("/").partition("/")[0]:
        raise UsageError(f"{url} names no bucket: {scheme}://BUCKET/FOLDER")
    package, extra = _EXTRAS[scheme]
    try:
        import fsspec

        # No caches: other processes write there, too.
        filesystem = fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True, **_OPTIONS[scheme])
    except ImportError as error:
        raise UsageError(f"{url} needs {package}: pip install 'convoy-train[{extra}]' ({error})") from error
    return filesystem, path.strip("/")


class ObjectStore(Store):
    """The objects below a URL.

    Args:
      url: s3://BUCKET/FOLDER or gs://BUCKET/FOLDER; taken literally.

    Raises:
      UsageError: as open_filesystem.
    """

    def __init__(self, url: str):
        self.where = url.rstrip("/")
        self._filesystem, self._root = open_filesystem(url)

    def read(self, name: str) -> bytes:
        content: bytes = self._ask(lambda: self._filesystem.cat_file(self._path(name)))
        return content

    def write(self, name: str, content: bytes, durable: bool = True) -> None:
        self._ask(lambda: self._filesystem.pipe_file(self._path(name), content))

    def create(self, name: str, content: bytes) -> None:
        """Writes an object that must not be there yet.

        Args:
          content: like nobody else's.

        Raises:
          FileExistsError: there is one, with other content.
        """
        try:
            self._ask(lambda: self._filesystem.pipe_file(self._path(name), content, mode="create"))
        except FileExistsError:
            if self.read(name) != content:
                raise

    def cut(self, name: str, length: int) -> None:
        start = self._ask(lambda: self._filesystem.cat_file(self._path(name), start=0, end=length)) if length else b""
        self.write(name, start)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._ask(lambda: self._filesystem.rm_file(self._path(name)))

    def sizes(self, folder: str = "") -> dict[str, int]:
        path = self._path(folder)
        found = self._ask(lambda: self._filesystem.find(path, detail=True))
        return {
            name[len(self._root) + 1 :]: entry["size"]
            for name, entry in found.items()
            if name.startswith(f"{path}/") and entry["type"] == "file"
        }

    def folders(self, folder: str) -> list[str]:
        within = (name[len(folder) + 1 :] for name in self.sizes(folder))
        return [name.removesuffix(f"/{MANIFEST}") for name in within if name.endswith(f"/{MANIFEST}")]

    def staging(self, folder: str) -> contextlib.AbstractContextManager[Path]:
        return _temporary()

    def deliver(self, staged: Path, folder: str) -> None:
        for file in sorted(path for path in staged.rglob("*") if path.is_file() and path.name != MANIFEST):
            self.send(file, f"{folder}/{file.relative_to(staged).as_posix()}")

    def publish(self, staged: Path, folder: str) -> None:
        self.create(f"{folder}/{MANIFEST}", (staged / MANIFEST).read_bytes())

    def send(self, file: Path, name: str) -> None:
        """Writes a file of this machine, in place of one that may be there."""
        limits = {"chunksize": _PIECE, **({"max_concurrency": _AT_ONCE} if self.where.startswith("s3:") else {})}
        callback = _counting()
        self._ask(lambda: self._filesystem.put_file(str(file), self._path(name), callback=callback, **limits))

    @contextlib.contextmanager
    def fetched(self, folder: str) -> Iterator[Path]:
        with _temporary() as local:
            names = self.sizes(folder)
            if f"{folder}/{MANIFEST}" not in names:
                raise FileNotFoundError(f"there is no {self.where}/{folder}")
            for name in names:
                self.fetch(name, local / name[len(folder) + 1 :])
            yield local

    def fetch(self, name: str, file: Path) -> None:
        """Copies an object to a file of this machine."""
        file.parent.mkdir(parents=True, exist_ok=True)
        callback = _counting()
        self._ask(lambda: self._filesystem.get_file(self._path(name), str(file), callback=callback))

    def set_aside(self, folder: str) -> str:
        """Its manifest gets another name; the rest stays."""
        content = self.read(f"{folder}/{MANIFEST}")
        aside = f"{folder}/{MANIFEST}.corrupt"
        self.write(aside, content)
        self.remove(f"{folder}/{MANIFEST}")
        return f"{self.where}/{aside}"

    def discard(self, folders: Iterable[str]) -> None:
        for folder in folders:
            self.remove(f"{folder}/{MANIFEST}")
            for name in self.sizes(folder):
                self.remove(name)

    def clean(self, folder: str) -> None:
        by_folder: dict[str, list[str]] = {}
        for name in self.sizes(folder):
            by_folder.setdefault(name[len(folder) + 1 :].partition("/")[0], []).append(name)
        for within, names in by_folder.items():
            if not any(name.startswith(f"{folder}/{within}/{MANIFEST}") for name in names):  # published, or set aside
                for name in names:
                    self.remove(name)

    def unique(self, folder: str, attempt: int) -> str:
        return f"{folder}.attempt_{attempt}"

    def close(self) -> None:
        pass

    def room(self) -> str:
        return ""

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _ask(self, operation: Callable[[], Any]) -> Any:
        return patiently(lambda: _translated(operation), _PATIENCE)


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="convoy.", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


# Where the exceptions come from that mean: the store did not answer as it should.
_OF_THE_NETWORK = ("botocore", "aiobotocore", "aiohttp", "asyncio", "gcsfs", "google", "requests", "urllib3", "fsspec")


def _translated(operation: Callable[[], Any]) -> Any:
    """What an operation returns; what it raises as an OSError, with a number that says what it is."""
    try:
        return operation()
    except (FileNotFoundError, FileExistsError, PermissionError, TimeoutError):
        raise
    except OSError as error:
        if _status(error) == 412:
            raise FileExistsError(str(error)) from error
        if error.errno == errno.EBUSY or (_status(error) or 0) >= 500:  # "slow down", and what servers cannot help
            raise OSError(errno.EREMOTEIO, str(error)) from error
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if "Credentials" in type(error).__name__:
            raise UsageError(
                f"there are no credentials for the store ({said}): set them in the environment, as AWS_ACCESS_KEY_ID "
                f"and AWS_SECRET_ACCESS_KEY or GOOGLE_APPLICATION_CREDENTIALS, or in the files that its tools make"
            ) from error
        if type(error).__module__.partition(".")[0] in _OF_THE_NETWORK:
            raise OSError(errno.EREMOTEIO, said) from error
        raise


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error of s3fs comes of."""
    response = getattr(error.__cause__, "response", None)
    status: int | None = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if response else None
    return status


def _counting() -> Any:
    """Counts each piece that is sent or fetched as progress."""
    from fsspec.callbacks import Callback

    return Callback(hooks={"progressed": lambda *size, **more: progressed()})
