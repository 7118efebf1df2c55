"""The liveness counter: how much work this process has done that no step counts. Decides nothing itself.

One counter for the whole process. The hang detector of a Ray run takes it as progress in phases without steps: while
data is opened and scanned, features are computed, files of weights and checkpoints are read, something is shown or
saved. What does such work here counts its pieces: a file, a tensor, a batch, a chunk of bytes. A source, a features
function or a task of a user that works for minutes without a step calls `progressed`, too.
"""

import threading

# `+=` reads and then writes, and another thread may count between the two. itertools.count would need no lock, but can
# neither be asked how far it is nor go on by several at once.
_lock = threading.Lock()
_pieces = 0


def progressed(pieces: int = 1) -> None:
    """This process has done another piece of work, or several; callable from any thread.

    Takes less than a microsecond, so it may be called every 64 KiB. Steps are counted elsewhere, and what they do is
    not counted here.
    """
    global _pieces
    with _lock:
        _pieces += pieces


def count() -> int:
    """All pieces so far."""
    return _pieces
