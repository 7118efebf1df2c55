"""Goodput: every second of a run, counted as exactly one kind. Measures no single steps.

It runs from the start of the first command to the end of the last one, so the kinds add up to the time that has passed.

    startup      until the first attempt begins       restart     from the end of an attempt until the next one begins
    compilation  the first host call                  lost        work after the last checkpoint, which is done again
    stepping     training                             idle        between two commands, when no run was asked for
    data         the loop waits for data              other       everything else between steps
    evaluation                                        checkpoint  the loop waits for a checkpoint
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
# Kinds of work that is done again if no checkpoint holds it.
_REPEATED = ("stepping", "data", "evaluation", "showing", "other")
_SECONDS_BETWEEN_ENTRIES = 1.0
# Kinds that may take long without a journal entry, so one is written before them.
_LONG = ("evaluation", "showing", "checkpoint")
# Monotonic within a process, and comparable between processes as far as their machines' clocks agree.
_WALL = time.time() - time.monotonic()


def wall(monotonic: float | None = None) -> float:
    """The wall clock in seconds, now or at a moment of time.monotonic(); never runs backwards within a process."""
    return _WALL + (time.monotonic() if monotonic is None else monotonic)


def process_start() -> float:
    """When this process started, in seconds of time.monotonic(); the present moment, if /proc does not say."""
    try:
        with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
            ticks = float(stat.read().rsplit(")", 1)[1].split()[19])
            age = float(uptime.read().split()[0]) - ticks / 100
        return time.monotonic() - max(0.0, age)
    except (OSError, IndexError, ValueError):
        return time.monotonic()


class Goodput:
    """Seconds by kind; time counts as 'startup' at first.

    Args:
      started: when this command started, in seconds of `clock`.
      clock: returns the time in seconds.
    """

    def __init__(self, started: float, clock: Callable[[], float] = wall):
        self._clock, self._started = clock, started
        self._seconds = dict.fromkeys(KINDS, 0.0)
        self._kind, self._since = "startup", started
        self._write: Callable[[dict[str, Any]], None] = lambda entry: None
        self._written = started

    def go_on(self, entry: Mapping[str, Any], saved: Mapping[str, float]) -> None:
        """Continues earlier attempts' seconds, read from the journal.

        Call it before time has been spent on anything but starting, which counts as 'restart' then.

        Args:
          entry: the newest entry of the journal.
          saved: seconds by kind, as of the checkpoint that this attempt resumes from.
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
        """From now on calls `write` with an entry about once a second, and before what may take long.

        The next attempt reads the last entry, if this one ends without warning. An entry holds `at`, the time in
        seconds of the clock, and `seconds`, by kind, up to then.
        """
        self._write = write

    def write_entry(self) -> None:
        """Writes an entry at once."""
        self._written = -math.inf
        self.switch(self._kind)

    def switch(self, kind: str) -> str:
        """From now on time counts as `kind`; returns the kind before."""
        now = self._clock()
        self._seconds[self._kind] += now - self._since
        before, self._kind, self._since = self._kind, kind, now
        if now - self._written >= _SECONDS_BETWEEN_ENTRIES:
            self._written = now
            self._write({"at": now, "seconds": dict(self._seconds)})
        return before

    @contextlib.contextmanager
    def spend(self, kind: str) -> Iterator[None]:
        """Within this context time counts as `kind`."""
        before = self.switch(kind)
        if kind in _LONG:
            self.write_entry()
        try:
            yield
        finally:
            self.switch(before)

    def phase(self) -> str:
        """The current kind; callable from any thread."""
        return self._kind

    def seconds(self) -> dict[str, float]:
        """Seconds by kind, up to now."""
        self.switch(self._kind)
        return dict(self._seconds)
