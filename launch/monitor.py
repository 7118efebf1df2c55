"""Finds the worker that hangs: the judgement alone. Whoever asks takes heartbeats there and acts on what is found.

Workers that train together stop together, so that one has stopped says nothing about whose fault it is. It is that of
one that no longer beats (stopped, or its machine gone), else of one that has not had its part of the step ready when
the others have, and wait.
"""

import dataclasses
import statistics
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from launch.board import Beat
from trainer.errors import UsageError

# Phases in which steps of training or evaluation are counted while they last.
_COUNTED = ("stepping", "data", "evaluation")


@dataclasses.dataclass(frozen=True)
class Limits:
    """How long, in seconds, a worker may go without a sign of progress.

    Args:
      silence: without a heartbeat. Less than the 10 after which TensorFlow's own service ends the other workers, who
        are not to blame.
      step: without a step, in training, evaluation or waiting for data; or `times` the usual time of a step, if that is
        longer.
      slow: before the first of these steps, in start-up, compilation or saving, or while all are between steps.
      times: see `step`.
    """

    silence: float = 8
    step: float = 12
    slow: float = 900
    times: float = 20

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) > 0:
                raise UsageError(f"Limits.{field.name} = {getattr(self, field.name)}: give a number above 0")


class Hang(NamedTuple):
    """Who hangs, in which phase, at which of its steps, and for how many seconds."""

    rank: int
    phase: str
    arrivals: int
    seconds: float
    silent: bool


class Monitor:
    """Watches one group of workers.

    Args:
      limits: see there.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._seen: dict[int, tuple[Beat, float]] = {}  # by rank, the newest progress and when it was seen
        self._entered: dict[int, Beat] = {}  # by rank, the first beat of its phase
        self._step_seconds: deque[float] = deque(maxlen=20)

    def look(self, beats: Mapping[int, tuple[Beat, float]], now: float, returned: bool = False) -> list[Hang]:
        """Returns the workers that are to blame for a standstill; none, if there is none.

        beats: by rank, the newest heartbeat and its age in seconds, of those that have not returned.
        now: in seconds, on any clock.  returned: whether others have.
        """
        for rank, (beat, _) in beats.items():
            before = self._seen.get(rank)
            if before is None or before[0].phase != beat.phase:
                self._entered[rank] = beat
            if before is None or _progress(before[0]) != _progress(beat):
                if before is not None and beat.arrivals > before[0].arrivals:
                    self._step_seconds.append((now - before[1]) / (beat.arrivals - before[0].arrivals))
                self._seen[rank] = (beat, now)
        silent = [rank for rank, (_, age) in beats.items() if age > self._limits.silence]
        # Where others get on, so does a rank that is not heard of: its machine may be busy.
        if silent and all(now - self._seen[rank][1] > self._limits.silence / 2 for rank in beats):
            return [self._hang(rank, beats[rank][1], True) for rank in silent]
        stepping = {rank for rank, (beat, _) in beats.items() if self._is_counted(rank, beat)}
        if not beats or not all(self._stands_still(rank, now, returned or stepping - {rank}) for rank in beats):
            return []
        last = min(beat.arrivals for beat, _ in beats.values())
        return [
            self._hang(rank, now - self._seen[rank][1], False)
            for rank, (beat, _) in beats.items()
            if beat.arrivals == last
        ]

    def _stands_still(self, rank: int, now: float, awaited: object) -> bool:
        beat, at = self._seen[rank]
        # What all do at once between steps may take long; what one does alone keeps the others waiting in a step.
        counted = self._is_counted(rank, beat) or (beat.phase == "other" and bool(awaited))
        return now - at > (self._step_limit() if counted else self._limits.slow)

    def _is_counted(self, rank: int, beat: Beat) -> bool:
        # The first steps of a phase may have to be compiled, or the first data of all to be opened.
        before = self._entered[rank].arrivals if beat.phase == "evaluation" else 0
        return beat.phase in _COUNTED and beat.arrivals > before

    def _step_limit(self) -> float:
        usual = statistics.median(self._step_seconds) if self._step_seconds else 0.0
        return max(self._limits.step, self._limits.times * usual)

    def _hang(self, rank: int, seconds: float, silent: bool) -> Hang:
        beat, _ = self._seen[rank]
        return Hang(rank, beat.phase, beat.arrivals, seconds, silent)


def _progress(beat: Beat) -> tuple[str, int, int]:
    return beat.phase, beat.arrivals, beat.step
