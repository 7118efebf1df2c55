"""What the driver of a Ray run sees, and what it can be told to do: plain data. Nothing here sees or does anything."""

from typing import NamedTuple

from launch.on_ray.hang_detector import Hang
from launch.on_ray.status_board import Snapshot
from trainer.lifecycle.stop_requests import StopReason


class Room(NamedTuple):
    """The cluster at one look at it.

    look: its number; readings between two looks are the same.
    possible: how many workers an attempt could have now, if those of the present one were not there.
    capacity: how many it could have if nothing else ran.
    leaving: the ids of the nodes that are being drained.
    """

    look: int
    possible: int
    capacity: int
    leaving: frozenset[str] = frozenset()


class World(NamedTuple):
    """All that the driver sees.

    now: seconds of a clock that does not run backwards.  request: the user's stop request.  saved: the step of the
    newest checkpoint, -1 without one.  running: whether a fit() has been called and has not returned.  error: what it
    raised, '' if nothing.  board: see Snapshot; `news` is not looked at.
    """

    now: float
    request: StopReason
    saved: int
    room: Room
    running: bool
    error: str
    board: Snapshot


class Start(NamedTuple):
    """Call fit() with so many workers."""

    workers: int


class Ask(NamedTuple):
    """Ask the workers of this attempt to stop at the next step boundary."""

    reason: StopReason


class EndWorker(NamedTuple):
    """End a worker that hangs; Ray starts the group again."""

    hang: Hang


class EndFit(NamedTuple):
    """Make Ray's controller end the fit(); `by_force`: end the controller, which does not listen."""

    by_force: bool = False


class FreeGroup(NamedTuple):
    """Free the resources of the group if one of its workers has died: Ray Train may wait for them for ever."""


class Prestart(NamedTuple):
    """Prestart processes on the nodes of the group."""


class Say(NamedTuple):
    """Tell the user."""

    line: str


class Finish(NamedTuple):
    """The command ends: with the workers' exit status, or why there is no further attempt."""

    why: str = ""


class Stopped(NamedTuple):
    """The command ends by the user's request while no worker runs."""


class Fail(NamedTuple):
    """The command ends with this message."""

    message: str


Command = Start | Ask | EndWorker | EndFit | FreeGroup | Prestart | Say | Finish | Stopped | Fail
