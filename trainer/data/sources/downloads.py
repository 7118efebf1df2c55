"""Files that are downloaded once, by URL, and verified by checksum. Does not read their contents."""

import contextlib
import fcntl
import hashlib
import shutil
import tarfile
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras

from trainer.base import counted_files
from trainer.base.errors import UsageError

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def file(url: str, sha256: str, folder: str = "~/.keras/datasets", unpack: bool = False) -> str:
    """Returns the path of a file, or of the folder that an archive is unpacked to. An existing one is used again.

    Of several processes on one machine the first downloads it (keras.utils.get_file), and the others wait.

    Args:
      url: https://…, or file://… for a copy on a shared mount.
      sha256: of the file, 64 hexadecimal digits, so that a file that has changed does not silently change the run.
      folder: where it is kept.
      unpack: whether to unpack it, a .zip or .tar file, into a folder beside it: NAME-<first digits of sha256>.

    Raises:
      UsageError: it cannot be downloaded, has another checksum, or is not an archive.
    """
    name = Path(urllib.parse.urlsplit(url).path).name
    if not name:
        raise UsageError(f"file.url = '{url}': an address that ends with the name of a file is needed")
    if len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef"):
        raise UsageError(f"file.sha256 = '{sha256}': give the 64 digits that `sha256sum {name}` prints")
    ending = next((ending for ending in _ARCHIVES if name.endswith(ending)), "")
    if unpack and not ending:
        raise UsageError(f"file.unpack: {name} is no archive of a kind that is known here ({', '.join(_ARCHIVES)})")
    root = Path(folder).expanduser().absolute()
    path = root / name
    target = root / f"{name.removesuffix(ending)}-{sha256[:8]}"
    # Existing files are complete, and may be in a shared, read-only folder, where no lock can be made.
    there = path.exists() and (target.exists() or not unpack)
    with contextlib.nullcontext() if there else one_at_a_time(root / f".{name}.lock"):
        if not path.exists():
            _fetch(url, sha256, path)
        elif (found := _sha256(path)) != sha256.lower():
            raise UsageError(f"{path} exists, but is another file: its sha256 is {found}; remove it, or correct sha256")
        if not unpack:
            return str(path)
        if not target.exists():
            _unpack(path, target)
        return str(target)


@contextlib.contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """A context that one process of this machine at a time can be in, for the same lock file."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _fetch(url: str, sha256: str, path: Path) -> None:
    part = path.with_name(f"part.{path.name}")  # so that an incomplete download is not used the next time
    try:
        keras.utils.get_file(part.name, url, cache_dir=str(path.parent), cache_subdir="", force_download=True)
    except Exception as error:  # get_file wraps what the network raises into a bare Exception
        raise UsageError(
            f"{url} cannot be fetched ({error}). On a machine without a network copy the file to {path}"
        ) from error
    found = _sha256(part)
    if found != sha256.lower():
        part.unlink()
        raise UsageError(
            f"{url} is not the file that is meant: its sha256 is {found}, not {sha256}: correct one of them"
        )
    part.rename(path)


def _sha256(path: Path) -> str:
    with counted_files.reader(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unpack(archive: Path, target: Path) -> None:
    part = target.with_name(f"part.{target.name}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        shutil.unpack_archive(archive, part)
    except (shutil.ReadError, tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise UsageError(f"{archive} cannot be unpacked: {error}") from error
    part.rename(target)  # so that the folder appears complete or not at all
