"""Where the command was given: what processes on other nodes need to find the user's modules and files. Copies none."""

import os
import sys
from typing import Any, NamedTuple


class Origin(NamedTuple):
    """folder: the working directory.  search: absolute folders with modules that are not installed, in order."""

    folder: str
    search: tuple[str, ...]

    @classmethod
    def here(cls) -> "Origin":
        """The origin of this process."""
        search = [sys.path[0], *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        return cls(os.getcwd(), tuple(os.path.abspath(path) for path in search))

    def of_child(self) -> dict[str, Any]:
        """Arguments of subprocess.Popen for a process that finds the same modules and files as the command."""
        folder = self.folder if os.path.isdir(self.folder) else None  # not on this node: paths must be absolute
        # Ray may have set PYTHONPATH for modules that it brought to the node.
        search = [*self.search, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"cwd": folder, "env": os.environ | {"PYTHONPATH": os.pathsep.join(search)}}
