"""The hang detector: finds out from heartbeats which worker hangs. It neither receives them nor ends workers.

When one worker hangs, all stop; so a stopped worker need not be the culprit. The culprit is one without heartbeats
(suspended, or its machine gone), or else the one that has not reached the collective in which the others wait.
"""

import dataclasses
import statistics
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from launch.on_ray.status_board import Heartbeat
from trainer.base.errors import UsageError

# Phases in which steps of training or evaluation are counted while they last, and the kind of these steps.
_COUNTED = {"stepping": "training", "data": "training", "evaluation": "evaluation"}


@dataclasses.dataclass(frozen=True)
class HangLimits:
    """How long, in seconds, a worker may go without progress.

    Args:
      silence: without a heartbeat. Less than the 10 s after which TensorFlow's own service ends the other workers.
      step_seconds: without a step, in training or evaluation; or `times` the usual time of such a step, if that is
        longer.
      data: without a step, while waiting for data; or `times` the usual time of a step.
      slow: in start-up, compilation or saving, until a step of its kind has been seen, or while all workers are between
        steps.
      times: see `step_seconds`.

    Raises:
      UsageError: a value is not above 0.
    """

    silence: float = 8
    step_seconds: float = 12
    data: float = 300
    slow: float = 900
    times: float = 20

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) > 0:
                raise UsageError(f"HangLimits.{field.name} = {getattr(self, field.name)}: give a number above 0")


class Hang(NamedTuple):
    """A worker that hangs: its phase, how many collectives it has reached, and for how many seconds it hangs.

    silent: whether it sends no heartbeats.
    """

    rank: int
    phase: str
    collectives: int
    seconds: float
    silent: bool


class HangDetector:
    """Watches a group of workers, and those that follow it.

    Args:
      limits: how long a worker may go without progress.
    """

    def __init__(self, limits: HangLimits):
        self._limits = limits
        self._seen: dict[int, tuple[Heartbeat, float]] = {}  # by rank, the newest progress and when it was seen
        self._entered: dict[int, Heartbeat] = {}  # by rank, the first beat of its phase
        self._step_seconds = {kind: deque[float](maxlen=20) for kind in _COUNTED.values()}

    def follow_another(self) -> None:
        """Another group begins; about how long steps usually take is still known."""
        self._seen, self._entered = {}, {}

    def look(self, beats: Mapping[int, tuple[Heartbeat, float]], now: float, returned: bool = False) -> list[Hang]:
        """Returns the workers that hang; none as long as any worker makes progress.

        beats: by rank, the newest heartbeat and its age in seconds, of the workers that have not returned.
        now: in seconds, of any clock.  returned: whether other workers have returned.
        """
        for rank, (beat, _) in beats.items():
            before = self._seen.get(rank)
            if before is None or before[0].phase != beat.phase:
                self._entered[rank] = beat
            if before is None or _progress(before[0]) != _progress(beat):
                if before is not None:
                    self._learn(before[0], beat, now - before[1])
                self._seen[rank] = (beat, now)
        silent = [rank for rank, (_, age) in beats.items() if age > self._limits.silence]
        # If others make progress, so does a silent rank: its machine may just be busy.
        if silent and all(now - self._seen[rank][1] > self._limits.silence / 2 for rank in beats):
            return [self._hang(rank, beats[rank][1], True) for rank in silent]
        stepping = {rank for rank, (beat, _) in beats.items() if self._is_counted(rank, beat)}
        if not beats or not all(self._stands_still(rank, now, returned or stepping - {rank}) for rank in beats):
            return []
        last = min(beat.collectives for beat, _ in beats.values())
        return [
            self._hang(rank, now - self._seen[rank][1], False)
            for rank, (beat, _) in beats.items()
            if beat.collectives == last
        ]

    def _learn(self, before: Heartbeat, beat: Heartbeat, seconds: float) -> None:
        """Notes how long steps took between two heartbeats, if all of them were of one kind."""
        steps, phases = beat.collectives - before.collectives, {before.phase, beat.phase} - {"other"}
        kinds = {_COUNTED.get(phase, "none") for phase in phases} or {"training"}
        if steps > 0 and len(kinds) == 1 and kinds != {"none"}:
            self._step_seconds[kinds.pop()].append(seconds / steps)

    def _stands_still(self, rank: int, now: float, awaited: object) -> bool:
        beat, at = self._seen[rank]
        # Between steps all ranks together may take long; one rank alone keeps the others waiting in a step.
        counted = self._is_counted(rank, beat) or (beat.phase == "other" and bool(awaited))
        return now - at > (self._step_limit(beat.phase) if counted else self._limits.slow)

    def _is_counted(self, rank: int, beat: Heartbeat) -> bool:
        # The first step of an evaluation may compile, and the first step of an attempt may wait for files to be opened.
        before = self._entered[rank].collectives if beat.phase == "evaluation" else 0
        return beat.phase in _COUNTED and beat.collectives > before

    def _step_limit(self, phase: str) -> float:
        usual = self._step_seconds[_COUNTED.get(phase, "training")]
        if not usual:
            return self._limits.slow  # nothing is known of such steps yet
        least = self._limits.data if phase == "data" else self._limits.step_seconds
        return max(least, self._limits.times * statistics.median(usual))

    def _hang(self, rank: int, seconds: float, silent: bool) -> Hang:
        beat, _ = self._seen[rank]
        return Hang(rank, beat.phase, beat.collectives, seconds, silent)


def _progress(beat: Heartbeat) -> tuple[str, int, int]:
    return beat.phase, beat.collectives, beat.step
