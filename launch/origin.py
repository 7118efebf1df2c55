"""Where the command was given: what processes on other nodes need to find the user's modules and files."""

import os
import sys
from typing import Any, NamedTuple


class Origin(NamedTuple):
    """folder: where it was given.  search: where it finds modules that are not installed, absolute, in their order."""

    folder: str
    search: tuple[str, ...]

    @classmethod
    def here(cls) -> "Origin":
        """That of this process."""
        search = [sys.path[0], *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        return cls(os.getcwd(), tuple(os.path.abspath(path) for path in search))

    def of_child(self) -> dict[str, Any]:
        """Arguments of subprocess.Popen, for a process that is to find what the command would."""
        folder = self.folder if os.path.isdir(self.folder) else None  # where nodes share nothing, paths are absolute
        # What is there already may be of Ray's, for the modules that it brought to the node.
        search = [*self.search, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"cwd": folder, "env": os.environ | {"PYTHONPATH": os.pathsep.join(search)}}
