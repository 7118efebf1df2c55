"""Where the seconds go: a ledger in which every moment of a run belongs to exactly one kind.

From the start of the first command to the end of the last one, so the kinds add up to the time that has passed.

    startup      until the first attempt begins       restart    from the end of an attempt until the next one begins
    compilation  the first host call                  lost       work that was done again, as no checkpoint held it
    stepping     training                             idle       between two commands, when nobody asked for a run
    data         the loop waiting for data            other      all else between steps
    evaluation                                        checkpoint   the loop waiting for one
    showing      making images and texts to look at
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

KINDS = (
    "startup", "compilation", "stepping", "data", "evaluation", "showing", "checkpoint", "other", "lost", "restart",
    "idle",
)  # fmt: skip
# What is done again after a step that no checkpoint holds.
_REPEATED = ("stepping", "data", "evaluation", "showing", "other")
_SECONDS_BETWEEN_ENTRIES = 1.0
# May take long, with no entry until they end: what came before is written down first.
_LONG = ("evaluation", "showing", "checkpoint")
# Monotonic within a process, and comparable between processes as far as their machines' clocks agree.
_WALL = time.time() - time.monotonic()


def wall(monotonic: float | None = None) -> float:
    """Seconds of the wall clock, now or at a moment of time.monotonic(); never runs backwards in a process."""
    return _WALL + (time.monotonic() if monotonic is None else monotonic)


class Ledger:
    """Seconds by kind; starts as start-up.

    Args:
      started: when this command started, on the clock.
      clock: returns seconds.
    """

    def __init__(self, started: float, clock: Callable[[], float] = wall):
        self._clock, self._started = clock, started
        self._seconds = dict.fromkeys(KINDS, 0.0)
        self._kind, self._since = "startup", started
        self._write: Callable[[dict[str, Any]], None] = lambda entry: None
        self._written = started

    def go_on(self, entry: Mapping[str, Any], saved: Mapping[str, float]) -> None:
        """Takes over from the attempts before, of which nothing but the journal may be left.

        To be called before time has been spent on anything but starting, which counts as restarting then.

        Args:
          entry: the last one of their journal.
          saved: seconds by kind, as of the checkpoint that this attempt goes on from.
        """
        for kind in KINDS:
            self._seconds[kind] = entry["seconds"].get(kind, 0.0)
        for kind in _REPEATED:
            lost = max(0.0, self._seconds[kind] - saved.get(kind, 0.0))
            self._seconds[kind] -= lost
            self._seconds["lost"] += lost
        self._seconds["idle"] += max(0.0, self._started - entry["at"])
        self._kind, self._since = "restart", min(self._clock(), max(self._started, entry["at"]))

    def keep_journal(self, write: Callable[[dict[str, Any]], None]) -> None:
        """From now on `write` gets an entry about once a second and before what may take long.

        They are for whoever goes on after a sudden end.

        An entry holds `at`, a moment of the clock, and `seconds`, by kind, up to then.
        """
        self._write = write

    def write_entry(self) -> None:
        """Writes an entry at once."""
        self._written = -math.inf
        self.switch(self._kind)

    def switch(self, kind: str) -> str:
        """From now on time belongs to `kind`; returns what it belonged to before."""
        now = self._clock()
        self._seconds[self._kind] += now - self._since
        before, self._kind, self._since = self._kind, kind, now
        if now - self._written >= _SECONDS_BETWEEN_ENTRIES:
            self._written = now
            self._write({"at": now, "seconds": dict(self._seconds)})
        return before

    @contextlib.contextmanager
    def spend(self, kind: str) -> Iterator[None]:
        """Within this context time belongs to `kind`."""
        before = self.switch(kind)
        if kind in _LONG:
            self.write_entry()
        try:
            yield
        finally:
            self.switch(before)

    def phase(self) -> tuple[str, float]:
        """What time belongs to now, and for how many seconds it has; from any thread."""
        return self._kind, self._clock() - self._since

    def seconds(self) -> dict[str, float]:
        """Seconds by kind, up to now."""
        self.switch(self._kind)
        return dict(self._seconds)
