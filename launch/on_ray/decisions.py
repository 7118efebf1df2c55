"""What the driver of a Ray run decides: a state machine over what it sees. Reads no clock and calls no Ray.

    WAITING    for room for a group of workers, which Ray is asked to reserve
    STARTING   what was reserved is freed and fit() called; not all of its workers send heartbeats yet, or not any more
    RUNNING    all workers send heartbeats
    ENDING     the fit() was told to end from outside
    PAUSING    until the next attempt
    OVER

The driver looks at the world a few times per second, and carries out what `decide` returns. Ray starts a group again by
itself, within one fit(), when a worker dies; it is followed, and ended where Ray would wait for ever.
"""

import enum
import math
from collections.abc import Mapping, Sequence

from launch.on_ray import private_ray
from launch.on_ray.cluster import Cluster
from launch.on_ray.commands import (
    Ask,
    Command,
    EndFit,
    EndWorkers,
    Fail,
    Finish,
    FreeGroup,
    Prestart,
    Reserve,
    Say,
    Start,
    Stopped,
    World,
)  # fmt: skip
from launch.on_ray.deaths import how_lost
from launch.on_ray.hang_detector import HangDetector
from launch.on_ray.restart_policy import Decision, Next
from launch.on_ray.room_search import RoomSearch
from launch.on_ray.status_board import Outcome, Snapshot
from trainer.lifecycle.stop_requests import StopReason

# A worker whose last heartbeat is older than this counts as lost, seconds.
_LIVING_BEAT = 5.0
# While nothing trains, the user is told why at least this often.
_SECONDS_BETWEEN_WORDS = 8.0
# After these, a fit() that was told to end loses its controller, and is given up.
_SECONDS_TO_ABORT, _SECONDS_TO_DIE = 30.0, 60.0
# Where there is no need to wait for anybody: the user has asked for the end, and no worker lives.
_SECONDS_TO_ABORT_AT_ONCE, _SECONDS_TO_DIE_AT_ONCE = 3.0, 6.0
# A worker that hangs may be on a node that does not answer.
_TRIES_TO_END = 2
# The room that two jobs leave each other may be there for a moment. If it was, the next growth waits many times longer.
_LOOKS_BEFORE_GROWTH, _TIMES_AFTER_NO_GROWTH = 3, 4
# Until each worker has reached this many collectives a group is still starting, and prestarting would slow it down.
_COLLECTIVES_BEFORE_PRESTARTING = 20
# The most that a look adds to the time that limits are measured in: a driver that was stopped for a while has seen
# nothing meanwhile, and accuses nobody of it.
_LONGEST_LOOK = 2.0


class State(enum.Enum):
    """What the driver waits for; the values are for people."""

    WAITING = "waiting for room"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending the attempt"
    PAUSING = "pausing"
    OVER = "over"


class _Group:
    """What is known of the group that is followed.

    whole: whether all of its workers were there once.  broken: whether one has died, so that Ray ends the others.
    asked: what it was asked.  ended: the ranks that were ended as they hung, and when.  returned_at: when the first
    outcome came.
    """

    def __init__(self, name: str):
        self.name, self.whole, self.broken, self.prestarted = name, False, False, False
        self.asked, self.ended = StopReason.NONE, dict[int, list[float]]()
        self.returned_at: float | None = None


class _Attempt:
    """The present fit().

    count: its workers.  whole_at: when all of them were last there.  verdict: what follows, once the driver has ended
    it.  forced: whether its controller was ended, too.  growing: at how many looks in a row there was room for more
    workers.
    """

    def __init__(self, count: int, now: float):
        self.count, self.whole_at, self.group = count, now, _Group("")
        self.forced, self.growing = False, 0
        self.verdict: Decision | None = None


class Decisions:
    """The decisions of one command. The same history of worlds leads to the same commands.

    Args:
      cluster: the settings of the run.
      workers: the least and the most of an attempt.
    """

    def __init__(self, cluster: Cluster, workers: tuple[int, int]):
        self._cluster, self._policy = cluster, cluster.restart_policy
        self._least, self._most = workers
        self._time, self._seen_at, self._said_at = 0.0, -1.0, 0.0
        self._look = -1  # of the look at the room before
        self._pause = 0.0  # until the next attempt, seconds
        self._search, self._lacking_since = RoomSearch(self._most, 0.0), 0.0  # since when room for a group lacks
        self._looks_before_growth = _LOOKS_BEFORE_GROWTH
        self._hang_detector = HangDetector(cluster.hang_limits)
        self._attempt = _Attempt(0, 0.0)
        self._enter(State.WAITING)

    def _enter(self, state: State) -> None:
        self.state, self._since = state, self._time

    @property
    def _waited(self) -> float:
        """Seconds in the present state."""
        return self._time - self._since

    def decide(self, world: World) -> Sequence[Command]:
        """Returns what is to be done now, in order."""
        if self._seen_at < 0:
            self._seen_at = self._said_at = world.now
        passed = world.now - self._seen_at
        self._time, self._seen_at = self._time + min(max(passed, 0.0), _LONGEST_LOOK), world.now
        told = self._limit(world.board.enough_for)
        if self.state is State.WAITING:
            commands = self._wait(world)
        elif self.state is State.PAUSING:
            commands = self._pause_on(world)
        elif not world.running:
            commands = self._attempt_ended(world)
        elif self.state is State.ENDING:
            commands = self._end_on(world)
        else:
            commands = self._accompany(world)
        self._look = world.room.look
        commands = told + commands
        if any(isinstance(command, Say) for command in commands):
            self._said_at = world.now
        return commands

    def _limit(self, enough_for: int) -> list[Command]:
        """More workers than the shards are enough for are not asked for."""
        if not self._least <= enough_for < self._most:
            return []
        self._most = enough_for
        return [Say(f"the run has shards for {enough_for} workers: no more will be asked for")]

    # Between attempts.

    def _wait(self, world: World) -> list[Command]:
        if world.request:
            return self._over(Stopped())
        room, search, placement = world.room, self._search, self._cluster.placement
        if room.reserved and room.reserved == search.reserving:
            return self._begin(room.reserved)
        wanted = f"with {self._cluster.worker.resources} each, placed by {placement.strategy}"
        if self._waited > placement.patience:
            return self._over(
                Fail(
                    f"the cluster has room for {room.possible} workers {wanted}, and Ray placed no group within "
                    f"PlacementSettings.patience = {placement.patience:.0f} s, but --num_workers asks for "
                    f"{self._least} at least: lower --num_workers, or add nodes"
                )
            )
        first, number = not search.reserving, None
        if first or room.look != self._look:
            number = search.look(room, self._least, self._most, self._time)
        commands: list[Command] = [] if number is None else [Reserve(number)]
        if room.possible < self._least:
            words = f"waiting for room: {room.possible} of at least {self._least} workers {wanted}"
            return commands + self._word(words, at_once=first)
        return commands + self._word(f"waiting until Ray has reserved {search.reserving} workers {wanted}")

    def _begin(self, workers: int) -> list[Command]:
        if self._attempt.group.asked is StopReason.RESIZE:
            grown = workers > self._attempt.count
            self._looks_before_growth = (
                _LOOKS_BEFORE_GROWTH if grown else _TIMES_AFTER_NO_GROWTH * self._looks_before_growth
            )
        self._attempt = _Attempt(workers, self._time)
        self._enter(State.STARTING)
        self._said_at = self._seen_at
        fewer = [Say(f"there is room for {workers} of up to {self._most} workers")] if workers < self._most else []
        return [*fewer, Start(workers)]

    def _pause_on(self, world: World) -> list[Command]:
        if world.request:
            return self._over(Stopped())
        if self._waited < self._pause:
            return self._word(f"the next attempt begins in {self._pause - self._waited:.0f} s")
        self._search = RoomSearch(self._most, self._time)
        self._enter(State.WAITING)
        return []

    def _attempt_ended(self, world: World) -> list[Command]:
        """fit() has returned, or is given up."""
        board, decision = world.board, self._attempt.verdict
        if self._attempt.group.name:
            self._lacking_since = self._time
        free = FreeGroup(by_force=decision is not None)
        commands: list[Command] = [free, *(Say(how_lost(errors)) for errors in board.deaths)]
        if decision is None and world.error and not board.outcomes:
            # As Ray does if a worker dies just while its group is created.
            if private_ray.ACTOR_DIED not in world.error:
                return commands + self._over(Fail(f"Ray could not run the workers: {world.error}"))
            decision = self._died(world, how_lost({}))
        decision = decision or self._policy.ended(board.outcomes, world.saved)
        if decision.next is Next.END:
            nobody_ran = world.request and not board.outcomes and not decision.why
            return commands + self._over(Stopped() if nobody_ran else Finish(decision.why))
        self._pause = decision.after
        self._enter(State.PAUSING)
        return [*commands, Say(f"starting again: {decision.why}")]

    def _over(self, command: Command) -> list[Command]:
        self._enter(State.OVER)
        return [command]

    # While a fit() runs.

    def _accompany(self, world: World) -> list[Command]:
        """Each part may end the attempt, which ends the look."""
        commands: list[Command] = []
        parts = (
            self._count_deaths, self._follow, self._stop, self._end_hanging, self._look_at_room, self._follow_start
        )  # fmt: skip
        for part in parts:
            commands += part(world)
            if self.state is State.ENDING:
                break
        return commands

    def _follow(self, world: World) -> list[Command]:
        """Follows another group; deaths that are told with it are of the one before."""
        attempt, group = self._attempt, world.board.group
        if group != attempt.group.name:
            attempt.group = _Group(group)
            self._hang_detector.follow_another()
            self._enter(State.STARTING)
        return []

    def _stop(self, world: World) -> list[Command]:
        """Passes on the user's request to stop."""
        if not world.request:
            return []
        group = self._attempt.group
        if (group.broken or not group.whole) and not self._outcomes(world.board):
            # A group would start only to stop. One that was whole trains, also where its heartbeats are late.
            return [Ask(world.request), *self._end_fit(Decision(Next.END, 0, ""))]
        return self._ask(world.request)

    def _count_deaths(self, world: World) -> list[Command]:
        commands: list[Command] = []
        for errors in world.board.deaths:
            self._attempt.group.broken = True
            commands.append(Say(how_lost(errors)))
            decision = self._policy.died(world.saved, how_lost(errors))
            if decision.next is Next.END:
                return commands + self._end_fit(decision)
        return commands

    def _end_hanging(self, world: World) -> list[Command]:
        """Ends the worker that keeps the others waiting; Ray then starts the group again."""
        if self._attempt.group.broken:
            return []  # a worker has died already, and Ray is ending the others
        board = world.board
        beats = {rank: beat for rank, beat in board.beats.items() if rank not in board.outcomes}
        hanging = self._hang_detector.look(beats, self._time, bool(board.outcomes), world.vitals)
        ended = self._attempt.group.ended
        # Its node may not have answered the first time.
        new = tuple(hang for hang in hanging if self._time - ended.get(hang.rank, [-math.inf])[-1] > _SECONDS_TO_DIE)
        if not new:
            return []
        if any(len(ended.get(hang.rank, ())) == _TRIES_TO_END for hang in new):
            ranks = ", ".join(str(hang.rank) for hang in new)
            return self._end_fit(self._died(world, f"worker {ranks} hangs and cannot be ended"))
        for hang in new:
            ended.setdefault(hang.rank, []).append(self._time)
        return [*(Say(f"worker {hang.rank} hangs: ending it") for hang in new), EndWorkers(new)]

    def _look_at_room(self, world: World) -> list[Command]:
        """Asks the group to stop when there is room for more workers or one of its nodes is drained.

        And ends an attempt whose lost workers are not replaced in time: Ray starts a group again by itself, but would
        wait for ever for nodes that do not come back.
        """
        board, room, attempt = world.board, world.room, self._attempt
        if room.look == self._look:
            return []
        living, group = self._living(board), attempt.group
        if living == attempt.count or (group.whole and not group.broken):  # heartbeats may be late
            attempt.whole_at = self._time
        if not attempt.group.broken and room.leaving & {member.node for member in board.members}:
            return self._ask(StopReason.LEAVE)
        if living == attempt.count and not attempt.group.broken:
            attempt.growing = attempt.growing + 1 if attempt.count < min(self._most, room.possible) else 0
            return self._ask(StopReason.RESIZE) if attempt.growing >= self._looks_before_growth else []
        broken_for, patience = self._time - attempt.whole_at, self._cluster.placement.replacement
        # Room there may be, and others may have it.
        no_room = room.capacity < attempt.count or board.controller.found_no_room
        if not self._outcomes(board) and broken_for > patience and no_room:
            return self._end_fit(Decision(Next.AGAIN, 0, "with the workers that there is room for"))
        return [FreeGroup()] if board.members and broken_for > _LIVING_BEAT else []

    def _follow_start(self, world: World) -> list[Command]:
        """Whether all workers are there; a start that takes too long is ended."""
        board, living, outcomes = world.board, self._living(world.board), self._outcomes(world.board)
        attempt, group, placement = self._attempt, self._attempt.group, self._cluster.placement
        group.whole |= len(board.beats) == attempt.count  # each has sent some, and one may hold its interpreter's lock
        runs = group.whole and not group.broken  # also if a heartbeat is late
        if runs and self.state is not State.RUNNING:
            self._enter(State.RUNNING)
        if outcomes:
            return self._follow_return(world)
        if runs:
            steps = min((beat.collectives for beat, _ in board.beats.values()), default=0)
            if group.prestarted or living < attempt.count or steps <= _COLLECTIVES_BEFORE_PRESTARTING:
                return []
            group.prestarted = True
            return [Prestart()] if self._cluster.prestart else []
        if self.state is not State.STARTING:
            self._enter(State.STARTING)
        if board.controller.found_no_room and not group.name:
            why, lasts = "others took the room that was reserved", self._time - self._lacking_since
            return self._end_fit(Decision(Next.AGAIN if lasts <= placement.patience else Next.END, 0, why))
        limit = max(placement.start, placement.replacement if world.room.capacity < attempt.count else 0.0)
        if self._waited <= limit:
            return self._word(f"starting: {living} of {attempt.count} workers are there")
        how = f"{attempt.count - living} of {attempt.count} workers were not there after {limit:.0f} s"
        return self._end_fit(self._died(world, how))

    def _follow_return(self, world: World) -> list[Command]:
        """Workers have returned; fit() must, once all of them have, and none may be missing for ever."""
        board, group = world.board, self._attempt.group
        if group.returned_at is None:
            group.returned_at, self._said_at = self._time, self._seen_at  # fit() takes a moment to return, too
        never_there = [r for r in range(self._attempt.count) if r not in board.outcomes and r not in board.beats]
        if not never_there and len(board.outcomes) < self._attempt.count:
            return []  # those that have not returned may be evaluating or saving
        limit = self._cluster.placement.start if never_there else _SECONDS_TO_ABORT
        if self._time - group.returned_at <= limit:
            return self._word("waiting for the end of the attempt", since=group.returned_at)
        return self._end_fit(self._policy.ended(board.outcomes, world.saved))

    def _outcomes(self, board: Snapshot) -> Mapping[int, Outcome]:
        """Those of a group that is at its end; where a worker has died, the group begins anew."""
        return {} if self._attempt.group.broken else board.outcomes

    def _ask(self, reason: StopReason) -> list[Command]:
        if reason <= self._attempt.group.asked:
            return []
        self._attempt.group.asked = reason
        return [Ask(reason)]

    def _living(self, board: Snapshot) -> int:
        return sum(age < _LIVING_BEAT for _, age in board.beats.values())

    # At its end.

    def _died(self, world: World, how: str) -> Decision:
        """What follows a death that Ray does not restart from by itself, and why."""
        decision = self._policy.died(world.saved, how)
        return decision._replace(why=decision.why or how)

    def _end_fit(self, verdict: Decision) -> list[Command]:
        """Ends an attempt from outside, whatever Ray would do next."""
        self._attempt.verdict, self._attempt.forced = verdict, False
        self._enter(State.ENDING)
        return [EndFit()]

    def _end_on(self, world: World) -> list[Command]:
        at_once = world.request and not self._living(world.board)
        if self._waited > (_SECONDS_TO_DIE_AT_ONCE if at_once else _SECONDS_TO_DIE):
            return self._attempt_ended(world)
        to_abort = _SECONDS_TO_ABORT_AT_ONCE if at_once else _SECONDS_TO_ABORT
        if self._waited > to_abort and not self._attempt.forced:
            self._attempt.forced = True
            return [EndFit(by_force=True)]
        deaths: list[Command] = [Say(how_lost(errors)) for errors in world.board.deaths]
        return deaths or self._word("ending the attempt")

    def _word(self, line: str, at_once: bool = False, since: float | None = None) -> list[Command]:
        """Tells the user why nothing trains, now and then, and for how long; since: if not in this state alone."""
        if self._seen_at - self._said_at < _SECONDS_BETWEEN_WORDS and not at_once:
            return []
        waited = self._waited if since is None else self._time - since
        return [Say(f"{line}, {waited:.0f} s")]
