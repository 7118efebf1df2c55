"""What a place for files can do, local or remote: the operations that a run directory is made of. Knows no checkpoints.

Names are relative to the store, with '/' between their parts, and are taken literally. What is here is whole or absent:
a reader sees a file, or a folder that was published, completely or not at all, and after a loss of power as well.

Where an operation fails because of a disk or a network it raises an OSError; trainer.base.errors.of_environment says
whether that may pass.
"""

import abc
import contextlib
from collections.abc import Iterable
from pathlib import Path

# The file that makes a folder a published one: written last, and read first.
MANIFEST = "manifest.json"


class Store(abc.ABC):
    """One place for files.

    Attributes:
      where: the place as a user would write it, for messages.
    """

    where: str

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
          FileNotFoundError: there is none.
        """

    @abc.abstractmethod
    def write(self, name: str, content: bytes, durable: bool = True) -> None:
        """Writes a file, in place of one that may be there.

        Args:
          durable: wait until it would outlast a loss of power; without that, an older content may be found then.
        """

    @abc.abstractmethod
    def cut(self, name: str, length: int) -> None:
        """Shortens a file to its first bytes. Who has it open goes on with the old one, which nobody else sees."""

    @abc.abstractmethod
    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""

    @abc.abstractmethod
    def sizes(self, folder: str = "") -> dict[str, int]:
        """Bytes by name: every file in a folder, those of its folders included; empty if there is none."""

    @abc.abstractmethod
    def folders(self, folder: str) -> list[str]:
        """The names, within `folder`, of the folders that were published there."""

    @abc.abstractmethod
    def deliver(self, staged: Path, folder: str) -> None:
        """Does all of `publish` that takes long: the files are where they outlast a loss of power, and not seen yet."""

    @abc.abstractmethod
    def publish(self, staged: Path, folder: str) -> None:
        """Makes the files of a folder `staged`, a MANIFEST among them, appear as `folder` at once; `staged` is used up.

        They have been delivered.

        Raises:
          FileExistsError: there is such a folder, in a store where it cannot be replaced.
        """

    @abc.abstractmethod
    def staging(self, folder: str) -> contextlib.AbstractContextManager[Path]:
        """A context that yields an empty folder on this machine, to be published as `folder`; removed at its end."""

    @abc.abstractmethod
    def fetched(self, folder: str) -> contextlib.AbstractContextManager[Path]:
        """A context that yields a folder on this machine with the files of a published one, to be read only.

        Raises:
          FileNotFoundError: there is none.
        """

    @abc.abstractmethod
    def set_aside(self, folder: str) -> str:
        """Keeps a folder, but no longer as a published one; returns where it is kept, for messages."""

    @abc.abstractmethod
    def discard(self, folders: Iterable[str]) -> None:
        """Removes published folders, so that none is ever seen in part."""

    @abc.abstractmethod
    def clean(self, folder: str) -> None:
        """Removes what a killed process left in `folder` before it could publish it, or while it discarded it."""

    @abc.abstractmethod
    def unique(self, folder: str, attempt: int) -> str:
        """A name for a folder that an attempt is to publish; another one for each, where an old one could interfere."""

    @abc.abstractmethod
    def close(self) -> None:
        """Removes what was made outside of the store for its use."""

    @abc.abstractmethod
    def room(self) -> str:
        """', which has N bytes free' where that is known, for messages; '' elsewhere."""
