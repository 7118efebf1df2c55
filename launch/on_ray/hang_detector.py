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
    the newest progress in steps.  at_work: whether it sent no heartbeats when it was last looked at, but was at work.
    """

    def __init__(self, beat: Heartbeat, now: float):
        self.entered = self.beat = self.stepped = beat
        self.at = self.stepped_at = now
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
        for rank, (beat, _) in beats.items():
            if rank in self._seen:
                self._note(self._seen[rank], beat, now)
            else:
                self._seen[rank] = _Seen(beat, now)
        late = {rank for rank, (_, age) in beats.items() if age > self._limits.silence}
        # As long as its node has not answered, it may be at work; after twice the limit its node is gone, too.
        unknown = {rank for rank in late - vitals.keys() if beats[rank][1] <= 2 * self._limits.silence}
        at_work = unknown | {rank for rank in late if vitals.get(rank) in (Vitals.RUNNING, Vitals.READING)}
        for rank, seen in self._seen.items():
            if seen.at_work and rank not in late:
                seen.at = now  # what it did meanwhile could not be told
            seen.at_work = rank in at_work or (seen.at_work and rank in late)
        # If others make progress, so does a silent rank: its machine may just be busy.
        silent = late - at_work
        if silent and all(now - self._seen[rank].at > self._limits.silence / 2 for rank in beats):
            return [self._hang(rank, beats[rank][1], True) for rank in sorted(silent)]
        stepping = {rank for rank in beats if self._is_counted(rank)}
        limits = {
            rank: self._limits.slow if rank in at_work else self._limit(rank, bool(returned or stepping - {rank}))
            for rank in beats
        }
        if not beats or any(now - self._seen[rank].at <= limit for rank, limit in limits.items()):
            return []
        last = min(beat.collectives for beat, _ in beats.values())
        return [
            self._hang(rank, now - self._seen[rank].at, False)
            for rank, (beat, _) in beats.items()
            if beat.collectives == last
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
        if _progress(before) != _progress(beat):
            if kind is None and before.phase != "other":
                self._usual[before.phase].append(now - seen.at)
            seen.beat, seen.at = beat, now

    def _is_counted(self, rank: int) -> bool:
        # The first step of an evaluation may compile, and the first step of an attempt may wait for files to be opened.
        seen = self._seen[rank]
        before = seen.entered.collectives if seen.beat.phase == "evaluation" else 0
        return seen.beat.phase in _COUNTED and seen.beat.collectives > before

    def _limit(self, rank: int, awaited: bool) -> float:
        """After how many seconds without progress a worker stands still."""
        phase = self._seen[rank].beat.phase
        # Between steps all ranks together may take long; one rank alone keeps the others waiting in a step.
        counted = self._is_counted(rank) or (phase == "other" and awaited)
        usual = self._usual[_COUNTED.get(phase, "training") if counted else phase]
        if not counted:
            least = self._limits.slow
        elif not usual:
            return self._limits.slow  # nothing is known of such steps yet
        else:
            least = self._limits.data if phase == "data" else self._limits.step_seconds
        return max(least, self._limits.times * statistics.median(usual)) if usual else least

    def _hang(self, rank: int, seconds: float, silent: bool) -> Hang:
        beat = self._seen[rank].beat
        return Hang(rank, beat.phase, beat.collectives, seconds, silent)


def _progress(beat: Heartbeat) -> tuple[str, int, int, int]:
    return beat.phase, beat.collectives, beat.step, beat.work
