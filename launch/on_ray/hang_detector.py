"""The hang detector: finds out from heartbeats which worker hangs. It neither receives them nor ends workers.

When one worker hangs, all stop; so a stopped worker need not be the culprit. The culprit is one without heartbeats
(suspended, or its machine gone), or else the one that has not reached the collective in which the others wait. A
process that holds the interpreter's lock sends no heartbeats either; its node tells whether it is at work (vitals.py).
"""

import dataclasses
import statistics
from collections import defaultdict, deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from launch.on_ray.status_board import Heartbeat
from launch.on_ray.vitals import Vitals
from trainer.base.errors import UsageError

# Phases in which steps of training or evaluation are counted while they last, and the kind of these steps.
_COUNTED = {"stepping": "training", "data": "training", "evaluation": "evaluation"}


@dataclasses.dataclass(frozen=True)
class HangLimits:
    """How long, in seconds, a worker may go without progress.

    Args:
      silence: without a heartbeat, if its node says that it is not at work; twice as long, if its node does not answer.
        Less than the 10 s after which TensorFlow's own service ends the other workers.
      step_seconds: without a step, in training or evaluation; or `times` the usual time of such a step, if that is
        longer.
      data: without a step, while waiting for data; or `times` the usual time of a step.
      slow: without a step or another piece of work (trainer.base.liveness), in start-up, compilation, saving or
        showing, until a step of its kind has been seen, while all workers are between steps, or while the process is at
        work and sends no heartbeats; or `times` the usual time of such a piece, if that is longer.
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


class _Seen:
    """What was seen of one worker.

    entered: the first beat of its phase.  beat, at: the newest progress of any kind, and when.  stepped, stepped_at:
    the newest progress in steps.  alive_at: when it last sent a heartbeat, or was at work without.  at_work: whether it
    was at work without, when it was last looked at.
    """

    def __init__(self, beat: Heartbeat, now: float):
        self.entered = self.beat = self.stepped = beat
        self.at = self.stepped_at = self.alive_at = now
        self.at_work = False


class HangDetector:
    """Watches a group of workers, and those that follow it.

    Args:
      limits: how long a worker may go without progress.
    """

    def __init__(self, limits: HangLimits):
        self._limits = limits
        self._seen: dict[int, _Seen] = {}  # by rank
        # By kind of step, seconds per step; by other phases, seconds from one sign of progress to the next.
        self._usual: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=20))

    def follow_another(self) -> None:
        """Another group begins; about how long steps usually take is still known."""
        self._seen = {}

    def look(
        self,
        beats: Mapping[int, tuple[Heartbeat, float]],
        now: float,
        returned: bool = False,
        vitals: Mapping[int, Vitals] = MappingProxyType({}),
    ) -> list[Hang]:
        """Returns the workers that hang; none as long as any worker makes progress.

        Args:
          beats: by rank, the newest heartbeat and its age in seconds, of the workers that have not returned.
          now: in seconds, of any clock.
          returned: whether other workers have returned.
          vitals: by rank, what their nodes tell of the processes that send no heartbeats.
        """
        for rank, (beat, age) in beats.items():
            seen = self._seen.setdefault(rank, _Seen(beat, now))
            self._note(seen, beat, now)
            self._note_life(seen, now - age, now, vitals.get(rank))
        silent = {rank for rank in beats if self._is_silent(rank, now, vitals)}
        # If others make progress, so does a silent rank: its machine may just be busy.
        if silent and all(now - self._seen[rank].at > self._limits.silence / 2 for rank in beats):
            return [self._hang(rank, now - self._seen[rank].alive_at, True) for rank in sorted(silent)]
        if not beats or any(now - self._seen[rank].at <= self._limit(rank, now, beats, returned) for rank in beats):
            return []
        last = min(beat.arrivals for beat, _ in beats.values())
        return [
            self._hang(rank, now - self._seen[rank].at, False)
            for rank, (beat, _) in beats.items()
            if beat.arrivals == last
        ]

    def _note(self, seen: _Seen, beat: Heartbeat, now: float) -> None:
        """Notes progress since the last look, and how long it took if it was of one kind."""
        before, kind = seen.beat, _COUNTED.get(seen.beat.phase)
        steps = beat.collectives - seen.stepped.collectives
        if steps > 0:
            phases = {seen.stepped.phase, beat.phase} - {"other"}
            kinds = {_COUNTED.get(phase, "none") for phase in phases} or {"training"}
            if len(kinds) == 1 and kinds != {"none"}:
                self._usual[kinds.pop()].append((now - seen.stepped_at) / steps)
            seen.stepped, seen.stepped_at = beat, now
        if before.phase != beat.phase:
            seen.entered = beat
        if before != beat:
            if kind is None and before.phase != "other":
                self._usual[before.phase].append(now - seen.at)
            seen.beat, seen.at = beat, now

    def _note_life(self, seen: _Seen, beat_at: float, now: float, vitals: Vitals | None) -> None:
        """Notes that a worker lives; in the detector's own time, since heartbeats grow old while nobody looks."""
        if beat_at > seen.alive_at:
            if seen.at_work:
                seen.at = now  # what it did while it sent no heartbeats could not be told
            seen.alive_at, seen.at_work = beat_at, False
        elif vitals in (Vitals.RUNNING, Vitals.READING):
            seen.alive_at, seen.at_work = now, True

    def _is_silent(self, rank: int, now: float, vitals: Mapping[int, Vitals]) -> bool:
        """Whether a worker sends no heartbeats and is not at work, as far as is known."""
        # As long as its node has not answered, it may be at work; after twice the limit its node is gone, too.
        limit = self._limits.silence if rank in vitals else 2 * self._limits.silence
        return now - self._seen[rank].alive_at > limit

    def _is_counted(self, rank: int) -> bool:
        # The first step of an evaluation may compile, and the first step of an attempt may wait for files to be opened.
        seen = self._seen[rank]
        before = seen.entered.collectives if seen.beat.phase == "evaluation" else 0
        return seen.beat.phase in _COUNTED and seen.beat.collectives > before

    def _limit(self, rank: int, now: float, beats: Mapping[int, tuple[Heartbeat, float]], returned: bool) -> float:
        """After how many seconds without progress a worker stands still."""
        seen = self._seen[rank]
        if seen.at_work or now - seen.alive_at > self._limits.silence:
            return self._limits.slow
        phase = seen.beat.phase
        # Between steps all ranks together may take long; one rank alone keeps the others waiting.
        waits = returned or any(self._is_counted(r) for r in beats if r != rank) or self._has_gone_ahead(beats)
        counted = self._is_counted(rank) or (phase == "other" and waits)
        usual = self._usual[_COUNTED.get(phase, "training") if counted else phase]
        if not counted:
            least = self._limits.slow
        elif not usual:
            return self._limits.slow  # nothing is known of such steps yet
        else:
            least = self._limits.data if phase == "data" else self._limits.step_seconds
        return max(least, self._limits.times * statistics.median(usual)) if usual else least

    @staticmethod
    def _has_gone_ahead(beats: Mapping[int, tuple[Heartbeat, float]]) -> bool:
        """Whether some workers have come where they wait for others."""
        return len({beat.arrivals for beat, _ in beats.values()}) > 1

    def _hang(self, rank: int, seconds: float, silent: bool) -> Hang:
        beat = self._seen[rank].beat
        return Hang(rank, beat.phase, beat.collectives, seconds, silent)
