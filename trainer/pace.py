"""How long a host call may be. Measures nothing itself."""

import sys

# Nothing can interrupt a host call, so its length is how late a signal may be noticed.
_SECONDS_PER_CALL = 1.0


class Pace:
    """How many steps a host call may have: as many as take a second, and never more than the user's bound."""

    def __init__(self, limit: int = sys.maxsize):
        self._limit = limit
        self.steps = 1  # the first call compiles, which is slow enough

    def measured(self, steps: int, seconds: float) -> None:
        """Takes note of a call; growth is gradual, because the first calls are slower than those to come."""
        if seconds > 0:  # a call that compiled is not measured
            fitting = int(steps * _SECONDS_PER_CALL / seconds)
            self.steps = max(1, min(self._limit, fitting, 8 * self.steps))
