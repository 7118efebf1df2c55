"""Where the seconds go: a ledger in which every moment belongs to exactly one kind."""

import contextlib
import time
from collections.abc import Iterator, Mapping

KINDS = ("startup", "compilation", "stepping", "data", "evaluation", "checkpoint", "other")


class Ledger:
    """Seconds by kind; starts as start-up.

    Args:
      started: when this process started, on the clock of time.monotonic().
    """

    def __init__(self, started: float):
        self._seconds = dict.fromkeys(KINDS, 0.0)
        self._kind, self._since = "startup", started

    def add(self, earlier: Mapping[str, float]) -> None:
        """Adds the seconds of earlier attempts."""
        for kind in KINDS:
            self._seconds[kind] += earlier.get(kind, 0.0)

    def switch(self, kind: str) -> str:
        """From now on time belongs to `kind`; returns what it belonged to before."""
        now = time.monotonic()
        self._seconds[self._kind] += now - self._since
        before, self._kind, self._since = self._kind, kind, now
        return before

    @contextlib.contextmanager
    def spend(self, kind: str) -> Iterator[None]:
        """Within this context time belongs to `kind`."""
        before = self.switch(kind)
        try:
            yield
        finally:
            self.switch(before)

    def seconds(self) -> dict[str, float]:
        """Seconds by kind, up to now."""
        self.switch(self._kind)
        return dict(self._seconds)
