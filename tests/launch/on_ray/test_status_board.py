"""What passes between the driver and the workers, and what of a group that is over does not."""

from launch.on_ray.status_board import Controller, Heartbeat, Member, Orders, Outcome, StatusBoard
from trainer.lifecycle.stop_requests import StopReason

MEMBERS = tuple(Member(rank, "host", "node", 100 + rank, f"host:{rank}", "{}", "ac", "pg") for rank in range(2))
BEAT = Heartbeat("stepping", 5, 4)


def board():
    found = StatusBoard()
    found.reset(1)
    found.started(1, "controller")
    found.begin(1, "a", MEMBERS)
    return found


def test_a_group_tells_the_driver_what_it_does():
    told = board()
    told.beat("a", 1, BEAT)
    told.tell("a", b"hello")
    told.end("a", 0, Outcome(0))
    snapshot = told.snapshot()
    assert (snapshot.group, snapshot.members, snapshot.controller) == ("a", MEMBERS, Controller("controller"))
    assert snapshot.beats[1][0] == BEAT and snapshot.news == [b"hello"]
    assert snapshot.outcomes == {0: Outcome(0)}
    assert told.snapshot().news == [], "told twice"


def test_what_a_group_that_is_over_says_is_dropped_and_it_is_sent_away():
    told = board()
    told.begin(1, "b", MEMBERS)
    assert told.beat("a", 0, BEAT).abandon
    told.tell("a", b"old")
    told.end("a", 0, Outcome(1))
    snapshot = told.snapshot()
    assert (snapshot.beats, snapshot.news, snapshot.outcomes) == ({}, [], {})
    assert told.beat("b", 0, BEAT) is None


def test_requests_of_the_user_outlive_a_group_and_others_do_not():
    for asked, expected in (
        (StopReason.LEAVE, None),
        (StopReason.TERMINATED, Orders(StopReason.TERMINATED, False)),
    ):
        told = board()
        told.ask(asked)
        told.ask(StopReason.RESIZE)
        assert told.beat("a", 0, BEAT).request == asked, "the gravest"
        told.started(1, "another controller")
        told.begin(1, "b", MEMBERS)
        assert told.beat("b", 0, BEAT) == expected


def test_a_failed_worker_makes_the_others_abandon():
    for outcome, abandon in ((Outcome(1), True), (Outcome(2), True), (Outcome(0), False), (Outcome(101), False)):
        told = board()
        told.end("a", 1, outcome)
        assert told.beat("a", 0, BEAT) == (Orders(StopReason.NONE, True) if abandon else None)


def test_deaths_are_told_once():
    told = board()
    told.died(1, {1: "killed"})
    assert told.snapshot().deaths == [{1: "killed"}]
    assert told.snapshot().deaths == []


def test_a_group_that_is_followed_by_another_without_a_word_was_lost():
    told = board()
    told.begin(1, "b", MEMBERS)
    assert told.snapshot().deaths == [{}]
    told.died(1, {1: "killed"})
    told.begin(1, "c", MEMBERS)
    assert told.snapshot().deaths == [{1: "killed"}]
    told.reset(2)
    told.begin(2, "d", MEMBERS)
    assert told.snapshot().deaths == [], "the fit before it ended by itself"


def test_a_request_for_a_group_is_not_one_for_the_next():
    told = board()
    told.ask(StopReason.RESIZE, "b")
    assert told.beat("a", 0, BEAT) is None
    told.ask(StopReason.RESIZE, "a")
    assert told.beat("a", 0, BEAT).request is StopReason.RESIZE
    told.died(1, {0: "gone"})
    told.reset(2)
    assert told.snapshot().deaths == [], "of a fit that is over"


def test_what_a_fit_tells_that_was_given_up_is_not_of_the_next_one():
    """Its controller does not listen, and goes on."""
    told = board()
    told.reset(2)
    told.started(1, "old")
    told.begin(1, "b", MEMBERS)
    told.died(1, {0: "gone"})
    told.found_no_room(1)
    snapshot = told.snapshot()
    assert (snapshot.group, snapshot.controller, snapshot.deaths) == ("", Controller(), [])
    assert told.beat("b", 0, BEAT).abandon, "its workers are sent away"
    told.started(2, "new")
    told.found_no_room(2)
    assert told.snapshot().controller == Controller("new", found_no_room=True)
    told.begin(2, "c", MEMBERS)
    assert told.snapshot().controller == Controller("new"), "it has found some"


def test_for_how_many_workers_the_shards_are_enough_is_known_from_then_on():
    told = board()
    assert told.snapshot().enough_for == 0
    told.limit(3)
    told.reset(2)
    assert told.snapshot().enough_for == 3
