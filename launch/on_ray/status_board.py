"""The status board: a Ray actor that passes reports from workers to the driver, and orders back. It decides nothing.

A *group* is the workers of one attempt, from their start to their end. Messages of earlier groups are dropped, and
those of a fit() that was given up, so a worker or a controller that outlived its attempt does no harm.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from trainer.lifecycle.stop_requests import StopReason


class Member(NamedTuple):
    """A worker of a group, and where it runs.

    node: Ray's id.  address: host:port for TF_CONFIG.  runtime_env: of its process, as Ray serializes it.
    actor, placement_group: Ray's ids.
    """

    rank: int
    host: str
    node: str
    pid: int
    address: str
    runtime_env: str
    actor: str
    placement_group: str


class Heartbeat(NamedTuple):
    """A heartbeat. phase: what the worker does, a kind of trainer.lifecycle.goodput.

    collectives: how many the worker has reached.  step: of the last boundary, -1 before the first.  work: how many
    other pieces of work it has done (trainer.base.liveness).  meetings: how often it has come to the other ranks
    between steps (trainer.distributed.ranks).
    """

    phase: str
    collectives: int
    step: int
    work: int = 0
    meetings: int = 0

    @property
    def arrivals(self) -> int:
        """How often it has come to where it waits for the others; equal for all that wait in the same place."""
        return self.collectives + self.meetings


# The status of a worker that failed by the trouble of a disk, a share or a network, which may pass.
TROUBLE = 99


class Outcome(NamedTuple):
    """How a worker's part of an attempt ended, unless it died.

    status: an exit status, or TROUBLE.  message: for the user.  trace: the traceback of an exception in user code.
    """

    status: int
    message: str = ""
    trace: str = ""


class PeerLost(Exception):
    """Raised in a worker that cannot go on because another one is lost.

    Defined here, since Ray Train's controller unpickles it and should not import TensorFlow, which takes seconds.
    """

    SAYS = "it could not reach the others"  # begins the message, which is all that Ray passes on to the driver


class Orders(NamedTuple):
    """What a worker is asked to do. request: NONE, or a stop request for the next boundary.  abandon: leave at once,
    because another worker cannot go on."""

    request: StopReason
    abandon: bool


NO_ORDERS = Orders(StopReason.NONE, False)


class Controller(NamedTuple):
    """Ray Train's. handle: None before it has started.  found_no_room: for the group that it is about to start."""

    handle: Any = None
    found_no_room: bool = False


class Snapshot(NamedTuple):
    """All that the board knows, and what is new since the last snapshot.

    beats: by rank, each with its age in seconds.  news: console output in order, as `tell` got it.
    deaths: for each group that lost workers, Ray's messages about them by rank; an empty mapping for a group that was
      lost before it started.
    enough_for: for how many workers the shards of the run are enough; 0: not known.
    """

    group: str
    members: tuple[Member, ...]
    controller: Controller
    beats: dict[int, tuple[Heartbeat, float]]
    outcomes: dict[int, Outcome]
    news: list[bytes]
    deaths: list[dict[int, str]]
    enough_for: int = 0


class StatusBoard:
    """The actor. Its methods are called by the driver, by Ray Train's controller and by workers.

    Args:
      clock: returns the time in seconds, for the age of heartbeats.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._news: list[bytes] = []
        self._deaths: list[dict[int, str]] = []
        self._fit, self._controller = 0, Controller()
        self._enough_for = 0
        self._request = StopReason.NONE
        self._forget("")

    def _forget(self, group: str) -> None:
        self._group = group
        self._members: tuple[Member, ...] = ()
        self._beats: dict[int, tuple[Heartbeat, float]] = {}
        self._outcomes: dict[int, Outcome] = {}
        # A stop request of the user holds for the next group, too.
        self._request = self._request if self._request >= StopReason.INTERRUPTED else StopReason.NONE
        self._abandon = self._lost = False
        self._controller = self._controller._replace(found_no_room=False)

    def reset(self, fit: int) -> None:
        """A fit() with this number is about to be called: forgets the groups of the last one."""
        self._fit = fit
        self._forget("")
        self._controller, self._deaths = Controller(), []

    def started(self, fit: int, controller: Any) -> None:
        """A fit() has started, with this controller."""
        if fit == self._fit:
            self._controller = Controller(controller)

    def begin(self, fit: int, group: str, members: tuple[Member, ...]) -> None:
        """A group has started. If the one before has reported no death, it lost a worker while it was being created."""
        if fit != self._fit:
            return
        if self._group and not self._lost:
            self._deaths.append({})
        self._forget(group)
        self._members = members

    def died(self, fit: int, errors: dict[int, str]) -> None:
        """Workers of the group have died."""
        if fit != self._fit:
            return
        self._lost = True
        self._deaths.append(errors)

    def beat(self, group: str, rank: int, beat: Heartbeat) -> Orders | None:
        """Takes a worker's heartbeat, and returns its orders.

        None if there are none: that costs Ray a fifth less to pass on, and 256 workers ask 512 times a second.
        """
        if group != self._group:
            return Orders(StopReason.NONE, True)  # a worker that outlived its group
        self._beats[rank] = (beat, self._clock())
        orders = Orders(self._request, self._abandon)
        return None if orders == NO_ORDERS else orders

    def is_present(self, group: str) -> bool:
        """Whether this is the group that the driver follows."""
        return group == self._group

    def tell(self, group: str, news: bytes) -> None:
        """Takes console output: the name of a Console method and its arguments, pickled.

        Pickled, because the arguments may hold a report, and unpickling one would import TensorFlow in this process.
        """
        if group == self._group:
            self._news.append(news)

    def found_no_room(self, fit: int) -> None:
        """Ray has found no room for a group, and tries again."""
        if fit == self._fit:
            self._controller = self._controller._replace(found_no_room=True)

    def limit(self, workers: int) -> None:
        """The shards of the run are enough for so many workers; that never changes."""
        self._enough_for = workers

    def end(self, group: str, rank: int, outcome: Outcome) -> None:
        """A worker has ended its part. If it has failed, the others are told to abandon theirs."""
        if group == self._group:
            self._outcomes[rank] = outcome
            self._abandon |= 0 < outcome.status < StopReason.RESIZE

    def ask(self, request: StopReason, group: str | None = None) -> None:
        """The driver asks all workers to end the run at the next boundary; group: only if it is still this one."""
        if group in (None, self._group):
            self._request = max(self._request, request)

    def snapshot(self) -> Snapshot:
        """Returns all that is known; news and deaths only once."""
        now = self._clock()
        news, self._news = self._news, []
        deaths, self._deaths = self._deaths, []
        beats = {rank: (beat, now - at) for rank, (beat, at) in self._beats.items()}
        return Snapshot(
            self._group,
            self._members,
            self._controller,
            beats,
            dict(self._outcomes),
            news,
            deaths,
            self._enough_for,
        )
