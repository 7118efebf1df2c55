"""Files in one folder per class: which of them are examples, and what is left out. Opens none of them."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.base.errors import UsageError
from trainer.base.liveness import progressed


class ClassFolders:
    """Finds the files of each class, FOLDER/CLASS/**, and counts those that it leaves out.

    Args:
      what: an example, for messages.
      suffixes: of their names, in small letters; names in capital letters have them, too.
    """

    def __init__(self, what: str, suffixes: Sequence[str]):
        self._what, self._suffixes = what, tuple(suffixes)
        self._left_out = Counter[str]()

    def find(self, folder: Path) -> dict[str, list[str]]:
        """Returns the paths by class, both in the order of their names; also of folders that are linked.

        Raises:
          UsageError: no class, one without examples, or a link to a folder that it is in.
        """
        found = {}
        for each in folders(folder):
            paths = [str(file) for file in _files(each) if self._is_kept(file, each)]
            if not paths:
                raise UsageError(
                    f"the class folder {each} holds no {self._what} ({', '.join(self._suffixes)}): fill it, or remove "
                    f"it"
                )
            found[each.name] = sorted(paths)
        if not found:
            raise UsageError(
                f"{folder} holds no folders: each {self._what} must be in the folder of its class, "
                f"{folder}/CLASS/NAME{self._suffixes[0]}"
            )
        beside = sum(entry.is_file() and self._is_example(entry) for entry in folder.iterdir())
        if beside:
            self._left_out["in no folder of a class"] += beside
        return found

    def note(self, path: str) -> list[str]:
        """A line for the console on what was left out, if there is any; path: where that was, for people."""
        if not self._left_out:
            return []
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self._left_out.items()))
        why = f"as their names or places are of no {self._what}"
        return [f"{self._left_out.total():,} files of {path} are left out, {why}: {kinds}"]

    def _is_example(self, file: Path) -> bool:
        return file.suffix.lower() in self._suffixes and not file.name.startswith(".")

    def _is_kept(self, file: Path, below: Path) -> bool:
        # Hidden files are other programs': copies of notebooks, thumbnails.
        if any(name.startswith(".") for name in file.relative_to(below).parts):
            self._left_out["hidden"] += 1
        elif self._is_example(file):
            return True
        else:
            self._left_out[file.suffix.lower() or "without an extension"] += 1
        return False


def folders(path: Path) -> list[Path]:
    """The folders in a folder that are not hidden, in the order of their names."""
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, also in folders that are linked."""
    for place, inner, names in os.walk(folder, followlinks=True):
        for name in inner:
            link = Path(place, name)
            if link.is_symlink() and Path(place).resolve().is_relative_to(link.resolve()):
                raise UsageError(f"{link} is a link to a folder that it is in: remove it")
        yield from (Path(place, name) for name in names)
        progressed(1 + len(names))
