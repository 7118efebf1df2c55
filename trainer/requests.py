"""Requests to end a run before its last step: why, and how a process tells its loop.

Anybody may ask, from any thread; the loop looks at step boundaries, and all ranks act on the gravest request together.
"""

import enum
import threading


class Reason(enum.IntEnum):
    """Why a run ends early, and the exit status that says so; where several are given, the largest counts.

    A launcher of several workers alone asks for the first two, and starts the run again by itself.
    """

    NONE = 0
    RESIZE = 100
    LEAVE = 101
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def words(self) -> str:
        return {
            Reason.NONE: "nobody",
            Reason.RESIZE: "a change in the number of workers",
            Reason.LEAVE: "a worker that was told to leave",
            Reason.INTERRUPTED: "SIGINT",
            Reason.TERMINATED: "SIGTERM",
        }[self]


class Requests:
    """What this process was asked for so far."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending = Reason.NONE

    @property
    def pending(self) -> Reason:
        """The gravest request so far."""
        return self._pending

    def ask(self, reason: Reason) -> None:
        """Asks for the end of the run at the next boundary."""
        with self._changed:
            self._pending = max(self._pending, reason)
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Waits so long for a request."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending, seconds)
