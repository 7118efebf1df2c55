"""What the driver decides: thousands of histories that must never break an invariant, and single ones with their commands."""

import pytest
import simulation

from launch.on_ray import private_ray
from launch.on_ray.cluster import Cluster, PlacementSettings
from launch.on_ray.commands import (
    Ask,
    EndFit,
    EndWorkers,
    Fail,
    Finish,
    FreeGroup,
    Prestart,
    Reserve,
    Room,
    Say,
    Start,
    Stopped,
    World,
)
from launch.on_ray.deaths import cause
from launch.on_ray.decisions import Decisions, State
from launch.on_ray.hang_detector import HangLimits
from launch.on_ray.placement import fitting
from launch.on_ray.restart_policy import RestartPolicy
from launch.on_ray.status_board import Controller, Heartbeat, Member, Outcome, PeerLost, Snapshot
from launch.on_ray.vitals import Vitals
from trainer.lifecycle.stop_requests import StopReason

HISTORIES = 1250  # of each placement strategy
STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_history_breaks_an_invariant(strategy):
    """Of deaths, drains, hangs, nodes that come and go, stolen room, signals, controllers that do not listen, late looks.

    Every history ends; there is never a second fit() beside one that runs; nobody healthy is ended, and whoever hangs is
    within its limit; the user is told something within 10 s while nothing trains.
    """
    ends = set()
    for seed in range(HISTORIES):
        history = simulation.Simulation(seed, strategy)
        try:
            ends.add(history.run())
        except simulation.Broken as broken:
            told = "\n".join(f"{now:.0f} {command}" for now, command in history.log[-20:])
            pytest.fail(f"seed {seed}: {broken}\n{told}")
    assert {0, 130, 143, "a bug"} <= ends, "the histories are too much alike"


class Driver:
    """A driver whose world is moved by hand."""

    def __init__(
        self, workers, possible=2, capacity=2, strategy="PACK", start=30, replacement=10, prestart=True, **policy
    ):
        placement = {"strategy": strategy, "patience": 60, "start": start, "replacement": replacement}
        cluster = Cluster(
            placement=lambda: PlacementSettings(**placement),
            restart_policy=lambda: RestartPolicy(**policy),
            hang_limits=lambda: HangLimits(slow=100),
            prestart=prestart,
        )
        self.decisions, self.now, self.look = Decisions(cluster, workers), 500.0, 0
        self.request, self.saved, self.possible, self.capacity = StopReason.NONE, -1, possible, capacity
        self.leaving, self.running, self.error, self.phase = frozenset(), False, "", "stepping"
        self.workers, self.group, self.living, self.outcomes, self.deaths, self.step = 0, "", 0, {}, [], 0
        self.words, self.places = [], True
        self.enough_for, self.unplaced, self.vitals, self.reserving, self.reserved, self.ages = 0, False, {}, 0, [], {}

    def see(self, seconds=1.0, looks=1, **changes):
        """The commands of the next look, without words; what is to be reserved is in `reserved` instead.

        looks: 0 if the room was not looked at again.
        """
        for name, value in changes.items():
            assert hasattr(self, name), name
            setattr(self, name, value)
        self.now, self.look = self.now + seconds, self.look + looks
        size = self.workers if self.group else 0
        board = Snapshot(
            self.group, tuple(Member(i, "h", f"n{i}", i, "a", "", "x", "p") for i in range(size)), Controller("c", self.unplaced),
            {i: (Heartbeat(self.phase, self.step, self.step), self.ages.get(i, 0.0)) for i in range(self.living)}, self.outcomes, [], self.deaths,
            self.enough_for,
        )  # fmt: skip
        reserved = self.reserving if self.places and self.possible >= self.reserving else 0
        room = Room(self.look, self.possible, self.capacity, self.leaving, reserved)
        world = World(self.now, self.request, self.saved, room, self.running, self.error, board, self.vitals)
        self.deaths = []
        self.commands = self.decisions.decide(world)
        for command in self.commands:
            if isinstance(command, Say):
                self.words.append(command.line)
            if isinstance(command, Reserve):
                self.reserving = command.workers
                self.reserved.append(command.workers)
            if isinstance(command, Start):
                self.reserving = 0
        return [command for command in self.commands if not isinstance(command, Say | Reserve)]

    def next(self):
        """The next command, within 20 looks."""
        return next(command for _ in range(20) for command in self.see())

    def said(self):
        return " ".join(command.line for command in self.commands if isinstance(command, Say))

    def started(self, workers):
        """A driver that has started so many workers."""
        assert self.next() == Start(workers)
        self.workers = workers
        self.see(running=True, group="a", living=workers, step=3)
        assert self.decisions.state is State.RUNNING
        return self


def test_as_many_are_started_as_there_is_room_for():
    driver = Driver((1, 2), possible=3)
    assert driver.see() == [] and driver.reserved == [2] and driver.see() == [Start(2)] and driver.said() == ""
    fewer = Driver((1, 4), possible=2)
    assert fewer.see() == fewer.see() == [] and fewer.reserved == [4, 2], "two looks have to agree"
    assert fewer.see() == [Start(2)] and fewer.said() == "there is room for 2 of up to 4 workers"
    changing = Driver((1, 4), possible=2)
    assert changing.see() == changing.see(possible=3) == changing.see(possible=2) == [] and changing.reserved == [4]


def test_nothing_starts_before_what_it_needs_is_reserved():
    """The looks at the room count free resources; only Ray knows whether a group can be placed."""
    driver = Driver((2, 2), possible=1)
    assert [driver.see() for _ in range(20)] == [[]] * 20 and driver.reserved == [2], "asked for once, and kept"
    driver.possible, driver.places = 2, False
    assert [driver.see() for _ in range(9)] == [[]] * 9
    assert "waiting until Ray has reserved 2 workers with {'CPU': 1} each, placed by PACK, 24 s" in driver.words
    driver.places = True
    assert driver.see(possible=2) == [Start(2)]


def test_room_that_others_take_leads_back_to_waiting():
    driver = Driver((1, 2))
    assert driver.next() == Start(2) and driver.see(running=True) == []
    assert driver.see(unplaced=True) == [EndFit()] and driver.see(running=False) == [FreeGroup(by_force=True)]
    assert driver.said() == "starting again: others took the room that was reserved"
    assert driver.see(possible=1, unplaced=False) == [] and driver.next() == Start(1)
    assert "there is room for 1 of up to 2" in driver.said()


def test_room_that_others_always_take_ends_the_run_after_its_patience():
    driver, commands = Driver((2, 2)), []
    for _ in range(120):
        commands = driver.see(running=driver.decisions.state is State.STARTING, unplaced=True)
        if isinstance(commands[-1] if commands else None, Finish):
            break
    assert commands[-1] == Finish("others took the room that was reserved") and driver.now > 560


def test_a_run_that_has_trained_for_longer_than_its_patience_waits_for_room_as_long_again():
    driver = Driver((2, 2)).started(2)
    assert [driver.see(step=step) for step in range(4, 200)] == [
        [Prestart()] if step == 21 else [] for step in range(4, 200)
    ]
    driver.see(running=False, outcomes={0: Outcome(int(StopReason.LEAVE))})
    assert driver.next() == Start(2)


def test_fewer_are_tried_where_ray_cannot_place_as_many_as_there_are_resources_for():
    driver = Driver((1, 4), possible=4)
    driver.places = False
    while driver.reserved[-1:] != [2]:
        assert driver.see() == []
    driver.places = True
    assert driver.see() == [Start(2)] and driver.reserved == [4, 3, 2] and 530 < driver.now < 540


def test_growth_that_came_to_nothing_is_not_asked_for_again_so_soon():
    driver, asked = Driver((1, 2), possible=1, capacity=2).started(1), []
    for _ in range(3):
        begun = driver.now
        while driver.see(possible=2) != [Ask(StopReason.RESIZE)]:
            pass
        asked.append(driver.now - begun)
        driver.see(possible=1, running=False, outcomes={0: Outcome(int(StopReason.RESIZE))}, group="", living=0)
        driver.outcomes, driver.saved = {}, driver.saved + 1
        assert driver.next() == Start(1)
        driver.see(running=True, group=str(begun), living=1)
    assert asked == [3, 12, 48]


def test_growth_that_succeeded_is_asked_for_again_as_soon_as_ever():
    driver, asked = Driver((1, 4), possible=1, capacity=4).started(1), []
    for workers in (1, 2, 3):
        begun = driver.now
        while driver.see(possible=workers + 1) != [Ask(StopReason.RESIZE)]:
            pass
        asked.append(driver.now - begun)
        driver.see(running=False, outcomes=dict.fromkeys(range(workers), Outcome(int(StopReason.RESIZE))))
        driver.see(outcomes={}, group="", living=0)
        assert driver.next() == Start(workers + 1)
        driver.workers = workers + 1
        driver.see(running=True, group=str(begun), living=workers + 1)
    assert asked == [3, 3, 3]


def test_one_look_at_the_room_counts_once_however_often_it_is_shown():
    driver = Driver((1, 2), possible=1, capacity=2).started(1)
    assert [driver.see(possible=2, looks=0) for _ in range(9)] == [[]] * 9, "between two looks it is not even asked for"
    assert driver.see() == driver.see() == [] == driver.see(looks=0) and driver.see() == [Ask(StopReason.RESIZE)]
    waiting = Driver((1, 4), possible=2)
    assert waiting.see() == [] and [waiting.see(looks=0) for _ in range(9)] == [[]] * 9 and waiting.reserved == [4]
    assert waiting.see() == [] and waiting.reserved == [4, 2]


def test_room_that_others_take_after_long_training_is_waited_for_from_then_on():
    driver = Driver((2, 2)).started(2)
    for step in range(4, 200):
        driver.see(step=step)
    driver.see(running=False, outcomes={0: Outcome(int(StopReason.LEAVE))})
    driver.see(outcomes={}, group="", living=0)
    assert driver.next() == Start(2) and driver.see(running=True) == []
    assert driver.see(unplaced=True) == [EndFit()]
    driver.see(running=False)
    assert driver.said() == "starting again: others took the room that was reserved"


def test_who_evaluates_while_another_has_returned_is_waited_for():
    driver = Driver((2, 2)).started(2)
    driver.see(outcomes={0: Outcome(0)}, phase="evaluation")
    assert [driver.see(step=step) for step in range(4, 200)] == [[]] * 196


def test_a_worker_that_cannot_be_ended_is_given_up_with_its_attempt():
    """Its node does not answer, and Ray does not see that it is gone."""
    driver = Driver((1, 1)).started(1)
    found = [command for _ in range(400) for command in driver.see(ages={0: 900}) if command != FreeGroup()]
    assert [type(command) for command in found[:3]] == [EndWorkers, EndWorkers, EndFit]
    driver.see(running=False)
    assert "starting again: worker 0 hangs and cannot be ended" in driver.said()


def test_all_workers_may_hold_their_interpreters_locks_at_once_for_longer_than_a_start_may_take():
    driver, ages = Driver((2, 2)).started(2), {0: 0.0, 1: 0.0}
    driver.see(step=30)
    for _ in range(95):
        ages = {rank: age + 1 for rank, age in ages.items()}
        assert [c for c in driver.see(ages=ages, vitals=dict.fromkeys(ages, Vitals.RUNNING)) if c != FreeGroup()] == []
    assert driver.see(ages={}, vitals={}, step=31) == [] and driver.decisions.state is State.RUNNING


def test_a_death_on_a_node_that_leaves_is_seen_to_all_the_same():
    driver = Driver((1, 2)).started(2)
    assert driver.see(leaving=frozenset({"n1"})) == [Ask(StopReason.LEAVE)]
    driver.see(deaths=[{1: private_ray.NODE_DIED}], living=1, capacity=1, possible=1)
    assert EndFit() in [command for _ in range(12) for command in driver.see()]


def test_a_signal_does_not_wait_for_a_controller_that_does_not_listen():
    driver = Driver((2, 2)).started(2)
    driver.see(deaths=[{1: "gone"}], living=0)
    driver.see(request=StopReason.TERMINATED)
    found = [driver.see() for _ in range(8)]
    assert found[3] == [EndFit(by_force=True)] and Stopped() in found[6]


def test_no_more_workers_are_asked_for_than_the_run_has_shards_for():
    driver = Driver((1, 4), possible=1, capacity=4).started(1)
    driver.see(enough_for=2)
    assert driver.said() == "the run has shards for 2 workers: no more will be asked for"
    assert [driver.see(possible=4) for _ in range(2)] == [[]] * 2 and driver.see() == [Ask(StopReason.RESIZE)]
    driver.see(running=False, outcomes={0: Outcome(int(StopReason.RESIZE))}, group="", living=0)
    assert driver.next() == Start(2)
    driver.workers = 2
    driver.see(running=True, group="b", living=2, outcomes={})
    assert [driver.see() for _ in range(20)] == [[]] * 20, "there is room for more, but no use"
    enough = Driver((1, 4), possible=4).started(4)
    assert enough.see(enough_for=4) == [] and enough.said() == ""
    least = Driver((3, 4), possible=4)
    assert least.see(enough_for=2) == [] and least.next() == Start(4), "the workers say what is wrong"


def test_who_holds_the_interpreters_lock_is_not_silent_and_who_is_stopped_is():
    """Its node tells which."""
    for vitals, expected in ((Vitals.RUNNING, []), (Vitals.STOPPED, [1])):
        driver = Driver((2, 2)).started(2)
        driver.see(step=30)
        ages = {0: 0.1, 1: 0.1}
        found = []
        for _ in range(60):
            ages[1] += 1
            found += [
                h.rank for c in driver.see(ages=ages, vitals={1: vitals}) if isinstance(c, EndWorkers) for h in c.hangs
            ]
        assert found[:1] == expected


def test_whoever_waits_says_for_what_and_gives_up_in_time():
    driver = Driver((2, 2), possible=1, strategy="STRICT_SPREAD")
    driver.see()
    assert "waiting for room: 1 of at least 2 workers with {'CPU': 1} each, placed by STRICT_SPREAD" in driver.said()
    words = 0
    for _ in range(70):
        commands = driver.see()
        words += bool(driver.said())
        if commands:
            break
    assert words >= 6 and isinstance(commands[0], Fail) and "room for 1 workers" in commands[0].message


@pytest.mark.parametrize("reason", [StopReason.INTERRUPTED, StopReason.TERMINATED])
def test_the_first_signal_ends_what_has_not_begun(reason):
    assert Driver((2, 2), possible=0).see(request=reason) == [Stopped()]
    starting = Driver((2, 2))
    assert starting.next() == Start(2)
    assert starting.see(running=True, request=reason) == [Ask(reason), EndFit()]
    assert starting.see(running=False) == [FreeGroup(by_force=True), Stopped()]


def test_whoever_runs_is_asked_once_and_what_comes_of_it_is_the_end():
    driver = Driver((2, 2)).started(2)
    assert driver.see(request=StopReason.TERMINATED) == [Ask(StopReason.TERMINATED)] and driver.see() == []
    assert driver.see(running=False, outcomes={0: Outcome(143), 1: Outcome(143)}) == [FreeGroup(), Finish("")]


def test_a_start_that_does_not_come_to_its_end_is_ended_and_tried_again():
    """The room was taken meanwhile, or a process never came up."""
    driver = Driver((2, 2), without_progress=1)
    assert driver.next() == Start(2)
    assert [driver.see(running=True) for _ in range(30)] == [[]] * 30
    assert driver.see() == [EndFit()] and driver.see() == []
    assert driver.see(running=False) == [FreeGroup(by_force=True)]
    assert "starting again: 2 of 2 workers were not there after 30 s" in driver.said()
    assert driver.next() == Start(2)
    for _ in range(31):
        commands = driver.see(running=True)
    assert commands == [EndFit()]
    (_, end) = driver.see(running=False)
    assert "2 attempts in a row died before they saved anything" in end.why and "not there after 30 s" in end.why


def test_a_controller_that_does_not_listen_is_ended_and_at_last_given_up():
    driver = Driver((2, 2), crashes=0).started(2)
    assert driver.see(deaths=[{0: "gone"}]) == [EndFit()]
    found = [(i, command) for i in range(62) for command in driver.see()]
    assert [command for command in found if isinstance(command[1], EndFit)] == [(30, EndFit(by_force=True))]
    assert found[-1][0] == 60 and "ending the attempt, 8 s" in driver.words
    assert found[-1][1] == Finish("RestartPolicy.crashes is spent; the last: worker 0 was lost: its process has died")


def test_growth_is_asked_for_where_more_would_fit_and_once():
    driver = Driver((1, 3), possible=1, capacity=3).started(1)
    assert driver.see() == driver.see(possible=2) == driver.see() == [], "another job's room may be free for a moment"
    assert driver.see() == [Ask(StopReason.RESIZE)] and driver.see() == []
    assert driver.see(running=False, outcomes={0: Outcome(int(StopReason.RESIZE))}) == [FreeGroup()]
    driver.see(outcomes={})
    assert driver.next() == Start(2)


def test_whoever_stands_on_a_node_that_leaves_is_asked_to():
    driver = Driver((2, 2)).started(2)
    assert driver.see(leaving=frozenset({"n7"})) == [] and driver.see(leaving=frozenset({"n1"})) == [
        Ask(StopReason.LEAVE)
    ]
    assert driver.see(group="b") == [Ask(StopReason.LEAVE)], "the board asks each group anew"


def test_workers_that_nothing_replaces_are_done_without():
    driver = Driver((1, 2)).started(2)
    assert [driver.see() for _ in range(20)] == [[]] * 20
    driver.see(deaths=[{1: private_ray.NODE_DIED}], living=1, capacity=1, possible=1)
    assert "worker 1 was lost: its node has died" in driver.said()
    found = [commands for _ in range(12) if (commands := driver.see())]
    assert found == [*[[FreeGroup()]] * 5, [EndFit()]]
    driver.see(running=False)
    assert "starting again: with the workers that there is room for" in driver.said()


def test_a_hang_is_ended_and_again_if_that_came_to_nothing_but_not_where_somebody_died():
    driver = Driver((2, 2)).started(2)
    found = [(i, hang.rank) for i in range(200) for command in driver.see() for hang in command.hangs]
    assert [rank for _, rank in found][:4] == [0, 1, 0, 1] and found[2][0] - found[0][0] == 61
    assert {"worker 0 hangs: ending it", "worker 1 hangs: ending it"} <= set(driver.words)
    driver = Driver((2, 2)).started(2)
    driver.see(deaths=[{0: "gone"}])
    assert not any(isinstance(command, EndWorkers) for _ in range(30) for command in driver.see())


def test_a_driver_that_was_stopped_accuses_nobody_of_its_own_sleep():
    driver = Driver((2, 2)).started(2)
    assert [driver.see(seconds=3600) for _ in range(5)] == [[]] * 5


def test_who_lingers_after_the_others_have_returned_is_ended():
    driver = Driver((2, 2)).started(2)
    for step in range(4, 9):
        driver.see(seconds=0.5, step=step)
    driver.see(phase="other", outcomes={0: Outcome(0)})
    found = [command for _ in range(20) for command in driver.see()]
    assert [hang.rank for command in found for hang in command.hangs] == [1]


def test_nodes_are_prepared_once_all_have_got_on():
    driver = Driver((2, 2)).started(2)
    assert driver.see(step=20) == [] and driver.see(step=21, living=1) == []
    assert driver.see(living=2) == [Prestart()]
    assert driver.see(step=30) == [] and driver.see(group="b", step=31) == [Prestart()]
    without = Driver((2, 2), prestart=False).started(2)
    assert without.see(step=21) == without.see(step=30) == []


def test_the_next_attempt_waits_and_says_so_where_none_gets_on():
    driver = Driver((2, 2)).started(2)
    for attempt in range(4):
        driver.see(running=False, outcomes={0: Outcome(int(StopReason.LEAVE))})
        if attempt < 3:
            driver.outcomes = {}
            while Start(2) not in driver.see():
                pass
            driver.see(running=True, living=2)
    assert [driver.see(outcomes={}) for _ in range(8)] == [[]] * 8
    assert driver.said() == "the next attempt begins in 8 s, 8 s"
    assert [driver.see() for _ in range(8)] == [[]] * 8 and driver.see(possible=0) == [], "it waits for room now"
    assert "waiting for room: 0 of at least 2" in driver.said(), "at once"
    assert driver.see(request=StopReason.TERMINATED) == [Stopped()]


def test_a_death_that_is_told_with_the_next_group_is_of_the_one_before():
    driver = Driver((2, 2)).started(2)
    driver.see(group="b", deaths=[{}], living=0)
    assert driver.said() == "a worker was lost while it started"
    driver.see(living=2)
    found = [hang.rank for _ in range(120) for command in driver.see() for hang in command.hangs]
    assert found[:2] == [0, 1], "the group that followed is watched"


def test_a_worker_that_is_lost_while_others_have_returned_already_is_replaced():
    """Its node left before it could say that it had saved; what the others said is of a group that begins anew."""
    driver = Driver((1, 2)).started(2)
    driver.see(outcomes={0: Outcome(int(StopReason.LEAVE))}, deaths=[{1: private_ray.NODE_DIED}], living=1, capacity=1)
    found = [command for _ in range(15) for command in driver.see(living=0, possible=1) if command != FreeGroup()]
    assert found == [EndFit()]


def test_deaths_that_are_told_while_an_attempt_is_ended_are_passed_on():
    driver = Driver((2, 2), crashes=0).started(2)
    driver.see(deaths=[{0: "gone"}])
    assert driver.see(deaths=[{0: "gone", 1: private_ray.NODE_DIED}]) == []
    both = "worker 0 was lost: its process has died; worker 1 was lost: its node has died"
    assert driver.said() == both
    driver.see(running=False, deaths=[{1: private_ray.NODE_DIED}])
    assert driver.said() == "worker 1 was lost: its node has died"


def test_how_many_were_not_there_is_said():
    driver = Driver((2, 2))
    driver.next()
    driver.workers = 2
    for _ in range(32):
        driver.see(running=True, group="a", living=1)
    driver.see(running=False)
    assert "starting again: 1 of 2 workers were not there after 30 s" in driver.said()


def test_a_start_waits_for_a_node_that_is_being_replaced():
    for capacity, limit in ((1, 50), (2, 30)):
        driver = Driver((2, 2), replacement=50)
        assert driver.next() == Start(2)
        found = [i for i in range(60) if EndFit() in driver.see(running=True, capacity=capacity)]
        assert found == [limit]
        assert "starting: 0 of 2 workers are there, 24 s" in driver.words


@pytest.mark.parametrize("returned, there, limit", [(2, 2, 30), (1, 1, 70)])
def test_a_fit_that_does_not_return_after_its_workers_is_ended(returned, there, limit):
    driver = Driver((2, 2), start=70)
    driver.next()
    driver.workers = 2
    driver.see(running=True, group="a", living=there, step=3)
    driver.outcomes = {rank: Outcome(0) for rank in range(returned)}
    found = [(i, command) for i in range(80) for command in driver.see() if command == EndFit()]
    assert found[0] == (limit + 1, EndFit()) and "waiting for the end of the attempt, 8 s" in driver.words
    assert driver.see(running=False)[-1] == Finish("")


def test_a_heartbeat_that_fails_ends_nobody():
    """The others get on, so it trains; as long as one is heard of, the hang detector judges."""
    driver = Driver((2, 2)).started(2)
    for step in range(4, 300):
        assert [c for c in driver.see(living=1, step=step) if c != FreeGroup()] == []
    assert driver.decisions.state is State.RUNNING


def test_a_signal_while_nobody_lives_ends_the_run_at_once():
    driver = Driver((2, 2)).started(2)
    driver.see(deaths=[{1: "gone"}])
    assert driver.see(request=StopReason.TERMINATED) == [Ask(StopReason.TERMINATED), EndFit()]


def test_a_signal_while_heartbeats_are_late_is_passed_on_to_those_who_train():
    driver = Driver((2, 2)).started(2)
    assert driver.see(living=0, request=StopReason.TERMINATED) == [Ask(StopReason.TERMINATED)]


def test_each_group_has_its_own_time_to_start():
    driver = Driver((2, 2))
    driver.next()
    assert [driver.see(running=True) for _ in range(25)] == [[]] * 25
    driver.workers = 2
    assert {command for _ in range(25) for command in driver.see(group="b")} == {FreeGroup()}


def test_room_that_comes_and_goes_is_taken_as_far_as_it_is_always_there():
    driver = Driver((1, 4), possible=1)
    found = [(i, command) for i in range(20) for command in driver.see(possible=1 + i % 2)]
    assert found[0] == (12, Start(1)) and driver.reserved == [4, 1]


def test_what_ray_cannot_run_is_said_and_what_died_while_it_started_is_tried_again():
    driver = Driver((2, 2)).started(2)
    assert driver.see(running=False, error="no such thing")[-1] == Fail("Ray could not run the workers: no such thing")
    driver = Driver((2, 2)).started(2)
    assert driver.see(running=False, error=f"… {private_ray.ACTOR_DIED}.") == [FreeGroup()]
    assert driver.said() == "starting again: a worker was lost while it started"


def test_deaths_are_told_in_a_few_words():
    assert cause(f"… {private_ray.OUT_OF_MEMORY} …") == "it was killed because its node ran out of memory"
    assert cause(f"{PeerLost.SAYS}: connection reset") == PeerLost.SAYS
    assert cause("whatever") == "its process has died"


@pytest.mark.parametrize("strategy, expected", [("PACK", 4), ("SPREAD", 4), ("STRICT_PACK", 3), ("STRICT_SPREAD", 2)])
def test_the_placement_strategy_decides_how_many_fit(strategy, expected):
    nodes = {"a": {"CPU": 7.0, "GPU": 3.0}, "b": {"CPU": 2.0, "GPU": 8.0}, "c": {"CPU": 8.0}}
    assert fitting(nodes, {"CPU": 2.0, "GPU": 1.0}, strategy) == expected
    assert fitting({}, {"CPU": 1.0}, strategy) == 0
