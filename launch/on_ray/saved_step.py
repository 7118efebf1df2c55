"""The step of the newest checkpoint, for the driver: a share or a store that does not answer must not hold it up."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from trainer.base.errors import TrainingError, UsageError

# So long the driver waits for what is true now, in seconds; it goes on with what was known after that.
_SECONDS_FOR_AN_ANSWER = 2.0
_SECONDS_BETWEEN_READS = 1.0


class SavedStep:
    """Reads it in a thread of its own.

    Args:
      read: returns the step, -1 if there is no checkpoint; may take long.
    """

    def __init__(self, read: Callable[[], int]):
        self._read, self._step = read, -1
        self._reader = ThreadPoolExecutor(1, "saved")
        self._reading: Future[int] | None = None
        self._read_at = -_SECONDS_BETWEEN_READS

    def look(self, now: bool) -> int:
        """Returns the step that is known.

        now: wait a moment for what is true now; otherwise it may be one or two seconds old.
        """
        deadline = time.monotonic() + _SECONDS_FOR_AN_ANSWER
        self._take(deadline if now else 0.0)
        if self._reading is None and (now or time.monotonic() - self._read_at >= _SECONDS_BETWEEN_READS):
            self._read_at = time.monotonic()
            self._reading = self._reader.submit(self._read)
            self._take(deadline if now else 0.0)
        return self._step

    def _take(self, deadline: float) -> None:
        """Takes the answer, if it is there before the deadline."""
        if self._reading is None or not wait([self._reading], max(0.0, deadline - time.monotonic())).done:
            return
        try:
            self._step = self._reading.result()
        except (OSError, UsageError, TrainingError) as error:
            print(f"the run directory could not be read: {error}", flush=True)  # to the driver's log
        self._reading = None
