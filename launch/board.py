"""The board: where workers report and read what is asked of them. A Ray actor that decides nothing.

A *group* is the workers of one attempt, from their start to their end. What a group that is over still has to say is
dropped, so nobody is taken in by a worker that outlived its attempt.
"""

import time
from typing import Any, NamedTuple

from trainer.requests import Reason


class Member(NamedTuple):
    """A worker of a group, and where it runs.

    runtime_env: Ray's, of its process, as Ray writes it.  actor, placement_group: Ray's ids.
    """

    rank: int
    host: str
    node: str
    pid: int
    address: str
    runtime_env: str
    actor: str
    placement_group: str


class Beat(NamedTuple):
    """A heartbeat. phase: what the worker does, a kind of the goodput ledger.  since: seconds in that phase.

    arrivals: how many of its parts of steps the worker has had ready.  step: of the last boundary, -1 before the first.
    """

    phase: str
    since: float
    arrivals: int
    step: int


class Outcome(NamedTuple):
    """How a worker's part of an attempt ended, unless it died.

    status: the exit status of a process that ended so.  message: for a person.  trace: of an exception that was the
    user code's.  step: of the last boundary.
    """

    status: int
    message: str = ""
    trace: str = ""
    step: int = -1


class Lost(Exception):
    """Raised in a worker that cannot go on without another one.

    Stands here, since Ray Train's controller reads it and should not have to import TensorFlow, which takes seconds.
    """

    SAYS = "it could not reach the others"  # which its message begins with: all that Ray tells the driver of it


class Orders(NamedTuple):
    """What is asked of a worker. abandon: leave at once, because another worker cannot go on."""

    request: Reason
    abandon: bool


class Snapshot(NamedTuple):
    """All that the board knows, and the news since the last snapshot.

    controller: handle of Ray Train's controller, None before it is there.
    beats: by rank, with the seconds since each came in.  news: of the console, in order, as `tell` got them.
    deaths: all that Ray said of the workers that died, by rank, one mapping for each group that was lost; an empty one
      for a group that did not come to its start.
    """

    group: str
    members: tuple[Member, ...]
    controller: Any
    beats: dict[int, tuple[Beat, float]]
    outcomes: dict[int, Outcome]
    news: list[bytes]
    deaths: list[dict[int, str]]


class Board:
    """The actor. Its methods are called by the driver, by Ray Train's controller and by workers."""

    def __init__(self) -> None:
        self._news: list[bytes] = []
        self._deaths: list[dict[int, str]] = []
        self._controller: Any = None
        self._request = Reason.NONE
        self._forget("")

    def _forget(self, group: str) -> None:
        self._group = group
        self._members: tuple[Member, ...] = ()
        self._beats: dict[int, tuple[Beat, float]] = {}
        self._outcomes: dict[int, Outcome] = {}
        # What was asked of the group before is asked of the next one too, if it was by the user.
        self._request = self._request if self._request >= Reason.INTERRUPTED else Reason.NONE
        self._abandon = self._lost = False

    def started(self, controller: Any) -> None:
        """A fit() has started; its groups are the controller's."""
        self._forget("")
        self._controller = controller

    def begin(self, group: str, members: tuple[Member, ...]) -> None:
        """A group has started; Ray says nothing of one before it that lost a worker while it was put together."""
        if self._group and not self._lost:
            self._deaths.append({})
        self._forget(group)
        self._members = members

    def died(self, errors: dict[int, str]) -> None:
        """Workers of the group have died."""
        self._lost = True
        self._deaths.append(errors)

    def beat(self, group: str, rank: int, beat: Beat) -> Orders:
        if group != self._group:
            return Orders(Reason.NONE, True)  # a worker that outlived its group
        self._beats[rank] = (beat, time.monotonic())
        return Orders(self._request, self._abandon)

    def tell(self, group: str, news: bytes) -> None:
        """Something for the console: a pickled pair of a method and its arguments.

        Pickled, because reports are in it, and to make one of them this process would have to import TensorFlow.
        """
        if group == self._group:
            self._news.append(news)

    def end(self, group: str, rank: int, outcome: Outcome) -> None:
        """A worker has ended its part; one that cannot go on keeps the others from waiting for it."""
        if group == self._group:
            self._outcomes[rank] = outcome
            self._abandon |= 0 < outcome.status < Reason.RESIZE

    def ask(self, request: Reason) -> None:
        """The driver asks all workers to end the run at the next boundary."""
        self._request = max(self._request, request)

    def snapshot(self) -> Snapshot:
        now = time.monotonic()
        news, self._news = self._news, []
        deaths, self._deaths = self._deaths, []
        beats = {rank: (beat, now - at) for rank, (beat, at) in self._beats.items()}
        return Snapshot(self._group, self._members, self._controller, beats, dict(self._outcomes), news, deaths)
