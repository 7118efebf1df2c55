"""Stop requests: why a run should end before its last step, and how a process tells its loop. Ends nothing itself.

Any thread may ask. The loop looks at step boundaries, where all ranks act together on the largest request of any rank.
"""

import enum
import threading


class StopReason(enum.IntEnum):
    """Why a run ends early; its number is the exit status. Of several reasons the largest counts.

    RESIZE and LEAVE come from a launcher of several workers, which starts the run again by itself.
    """

    NONE = 0
    RESIZE = 100
    LEAVE = 101
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def words(self) -> str:
        """The reason in words, after 'stopped by'."""
        return {
            StopReason.NONE: "nobody",
            StopReason.RESIZE: "a change in the number of workers",
            StopReason.LEAVE: "a worker that was told to leave",
            StopReason.INTERRUPTED: "SIGINT",
            StopReason.TERMINATED: "SIGTERM",
        }[self]


class StopRequests:
    """The stop requests of this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending = StopReason.NONE

    @property
    def pending(self) -> StopReason:
        """The largest request so far; NONE if there is none."""
        return self._pending

    def ask(self, reason: StopReason) -> None:
        """Asks for the end of the run at the next boundary."""
        with self._changed:
            self._pending = max(self._pending, reason)
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Waits for a request, at most this many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending, seconds)
