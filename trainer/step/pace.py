"""How many steps a host call may have, so that it takes about a second. Does not measure time itself."""

import sys

# Nothing can interrupt a host call, so its length is the longest time until a signal is acted on.
_SECONDS_PER_CALL = 1.0


class Pace:
    """How many steps a host call may have.

    Args:
      limit: an upper bound, in steps.
    """

    def __init__(self, limit: int = sys.maxsize):
        self._limit = limit
        self.steps = 1  # the first call compiles, which is slow enough

    def measured(self, steps: int, seconds: float) -> None:
        """Adjusts to a call that took `seconds`; grows gradually, since the first calls are slower than later ones."""
        if seconds > 0:  # a call that compiled is not measured
            fitting = int(steps * _SECONDS_PER_CALL / seconds)
            self.steps = max(1, min(self._limit, fitting, 8 * self.steps))
