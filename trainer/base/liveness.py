"""Signs of life: how many pieces of work this process has done that no step counts. Decides nothing.

The hang detector takes them for progress in phases without steps: start-up, showing, saving. A source, a features
function or a task that works for minutes without a step calls `progressed` as it goes.
"""

import itertools

# `next` on a counter is one operation of the interpreter, so threads need no lock.
_pieces = itertools.count(1)
_done = 0


def progressed() -> None:
    """This process has done another piece of work; callable from any thread."""
    global _done
    _done = next(_pieces)


def count() -> int:
    """How many pieces of work this process has done so far."""
    return _done
