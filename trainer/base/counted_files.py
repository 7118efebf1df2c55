"""Files whose reading and writing counts as progress (trainer.base.liveness), in libraries that are given them, too.

For files that take long: of data, of weights, of features.
"""

import io
from pathlib import Path
from typing import Any

from trainer.base.liveness import progressed

# At most this much is read or written at a time: it takes seconds even where a shared file system is very slow.
_PIECE = 1 << 20
_BUFFER = 1 << 16


class _Counted(io.FileIO):
    def readinto(self, buffer: Any, /) -> int:
        read: int = super().readinto(memoryview(buffer)[:_PIECE])
        progressed()
        return read

    def write(self, data: Any, /) -> int:
        written: int = super().write(memoryview(data)[:_PIECE])
        progressed()
        return written


def reader(path: str | Path) -> io.BufferedReader:
    """Opens a file for reading bytes. What is read at once and to the end, by read(), is not counted."""
    return io.BufferedReader(_Counted(path), _BUFFER)


def writer(path: str | Path) -> io.BufferedWriter:
    """Opens a file for writing bytes; creates or empties it."""
    return io.BufferedWriter(_Counted(path, "w"), _BUFFER)
