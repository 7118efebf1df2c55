"""The search for room: for how many workers Ray is asked to reserve what they need. Reserves nothing itself.

The most there may be, as long as it is not clear that there is room for less: by what the nodes have free, or because
Ray does not place as many. Nodes come and go, and the last group's resources are freed late: two looks have to agree.
"""

from launch.on_ray.commands import Room

_SECONDS_FOR_STEADY_ROOM = 10.0
# After so long Ray is asked to reserve room for one worker fewer.
_SECONDS_FOR_A_RESERVATION = 15.0


class RoomSearch:
    """One search, until a group is started.

    Args:
      most: workers of a group.
      now: in seconds of the clock that `look` is given.

    Attributes:
      reserving: for how many workers Ray is asked to reserve room; 0 before the first look.
    """

    def __init__(self, most: int, now: float):
        self.reserving, self._placeable = 0, most
        self._begun, self._asked_at, self._possible = now, now, -1

    def look(self, room: Room, least: int, most: int, now: float) -> int | None:
        """Returns for how many workers to reserve room instead of for those before; None: as before.

        Args:
          room: the cluster now, looked at anew.
          least, most: of an attempt.
          now: in seconds.
        """
        number = self._number(room, least, most, now)
        if number == self.reserving:
            return None
        self.reserving, self._asked_at = number, now
        return number

    def _number(self, room: Room, least: int, most: int, now: float) -> int:
        number = self.reserving or most
        if room.possible >= number > least and now - self._asked_at > _SECONDS_FOR_A_RESERVATION and self.reserving:
            number = self._placeable = number - 1  # there are resources, but Ray cannot place them all
        before, self._possible = self._possible, room.possible
        # Room that comes and goes: what there is at least will do.
        steady = room.possible == before or (before >= least and now - self._begun > _SECONDS_FOR_STEADY_ROOM)
        return min(room.possible, most, before, self._placeable) if steady and room.possible >= least else number
