"""What the driver of a Ray run sees, and what it can be told to do: plain data. Nothing here sees or does anything.

Commands are no tuples, which would be equal to those of another kind with the same contents.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from launch.on_ray.hang_detector import Hang
from launch.on_ray.status_board import Snapshot
from launch.on_ray.vitals import Vitals
from trainer.lifecycle.stop_requests import StopReason


class Room(NamedTuple):
    """The cluster at one look at it.

    look: its number; readings between two looks are the same.
    possible: how many workers an attempt could have now, if those of the present one were not there.
    capacity: how many it could have if nothing else ran.
    leaving: the ids of the nodes that are being drained.
    reserved: for how many workers Ray has reserved what they need, now.
    """

    look: int
    possible: int
    capacity: int
    leaving: frozenset[str] = frozenset()
    reserved: int = 0


class World(NamedTuple):
    """All that the driver sees.

    now: seconds of a clock that does not run backwards.  request: the user's stop request.  saved: the step of the
    newest checkpoint, -1 without one.  running: whether a fit() has been called and has not returned.  error: what it
    raised, '' if nothing.  board: see Snapshot; `news` is not looked at.  vitals: by rank, what the nodes tell of
    workers whose heartbeats are late.
    """

    now: float
    request: StopReason
    saved: int
    room: Room
    running: bool
    error: str
    board: Snapshot
    vitals: Mapping[int, Vitals] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Reserve:
    """Ask Ray to reserve what so many workers need, in place of what was asked for before."""

    workers: int


@dataclasses.dataclass(frozen=True)
class Start:
    """Free what is reserved, and call fit() with so many workers."""

    workers: int


@dataclasses.dataclass(frozen=True)
class Ask:
    """Ask the workers of this attempt to stop at the next step boundary."""

    reason: StopReason


@dataclasses.dataclass(frozen=True)
class EndWorkers:
    """End workers that hang; Ray starts the group again."""

    hangs: tuple[Hang, ...]


@dataclasses.dataclass(frozen=True)
class EndFit:
    """Make Ray's controller end the fit(); `by_force`: end the controller, which does not listen."""

    by_force: bool = False


@dataclasses.dataclass(frozen=True)
class FreeGroup:
    """Free the resources of the group if one of its workers has died: Ray Train may wait for them for ever.

    by_force: in any case, since the fit() is over.
    """

    by_force: bool = False


@dataclasses.dataclass(frozen=True)
class Prestart:
    """Prestart processes on the nodes of the group, for the next one."""


@dataclasses.dataclass(frozen=True)
class Say:
    """Tell the user."""

    line: str


@dataclasses.dataclass(frozen=True)
class Finish:
    """The command ends: with the workers' exit status, or why there is no further attempt."""

    why: str = ""


@dataclasses.dataclass(frozen=True)
class Stopped:
    """The command ends by the user's request while no worker runs."""


@dataclasses.dataclass(frozen=True)
class Fail:
    """The command ends with this message."""

    message: str


Command = Reserve | Start | Ask | EndWorkers | EndFit | FreeGroup | Prestart | Say | Finish | Stopped | Fail
