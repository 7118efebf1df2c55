"""Every moment of a run belongs to one kind, over all its attempts."""

import contextlib

import pytest

from trainer.lifecycle.goodput import KINDS, Goodput


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


def spend(goodput, clock, kind, seconds):
    with goodput.spend(kind):
        clock.now += seconds


def test_every_moment_belongs_to_one_kind():
    clock = Clock(2.0)
    goodput = Goodput(0.0, clock)
    with goodput.spend("stepping"):
        clock.now += 3
        with contextlib.suppress(RuntimeError), goodput.spend("data"):
            clock.now += 1
            raise RuntimeError
        clock.now += 3
        assert goodput.phase() == "stepping"
    assert goodput.switch("other") == "startup"
    found = goodput.seconds()
    assert set(found) == set(KINDS)
    assert {kind: seconds for kind, seconds in found.items() if seconds} == {"startup": 2, "stepping": 6, "data": 1}


def test_a_sudden_end_leaves_an_entry_a_second():
    clock, entries = Clock(), []
    goodput = Goodput(0.0, clock)
    goodput.keep_journal(entries.append)
    for _ in range(30):
        spend(goodput, clock, "stepping", 0.25)
    assert 6 <= len(entries) <= 8
    assert all(sum(entry["seconds"].values()) == entry["at"] for entry in entries)
    goodput.write_entry()
    assert entries[-1]["at"] == clock.now


def test_what_came_before_an_evaluation_is_written_before_it():
    clock, entries = Clock(), []
    goodput = Goodput(0.0, clock)
    goodput.keep_journal(entries.append)
    goodput.write_entry()
    spend(goodput, clock, "stepping", 0.25)
    with goodput.spend("evaluation"):
        assert entries[-1]["seconds"]["stepping"] == 0.25


def test_who_goes_on_tells_what_was_lost_from_what_was_kept():
    clock, entries = Clock(), []
    first = Goodput(0.0, clock)
    first.keep_journal(entries.append)
    clock.now = 10.0
    spend(first, clock, "stepping", 20)
    spend(first, clock, "checkpoint", 1)
    saved = first.seconds()
    spend(first, clock, "stepping", 5)
    spend(first, clock, "evaluation", 2)  # dies here, at 38
    first.write_entry()

    clock.now = 50.0  # in the same command, which began at 0
    second = Goodput(0.0, clock)
    second.go_on(entries[-1], saved)
    spend(second, clock, "stepping", 7)
    found = second.seconds()
    assert {kind: seconds for kind, seconds in found.items() if seconds} == {
        "startup": 10, "stepping": 27, "checkpoint": 1, "lost": 7, "restart": 12,
    }  # fmt: skip
    assert sum(found.values()) == clock.now


def test_time_between_two_commands_is_nobodys():
    clock = Clock(100.0)
    goodput = Goodput(90.0, clock)
    goodput.go_on({"at": 40.0, "seconds": {"stepping": 30.0, "startup": 10.0}}, {})
    found = goodput.seconds()
    assert (found["idle"], found["restart"], found["lost"], found["startup"]) == (50, 10, 30, 10)
    assert sum(found.values()) == clock.now


def test_a_clock_that_is_behind_takes_nothing_away():
    clock = Clock(35.0)
    goodput = Goodput(0.0, clock)
    goodput.go_on({"at": 40.0, "seconds": {"stepping": 40.0}}, {"stepping": 40.0})
    assert goodput.seconds()["restart"] == 0
    clock.now = 45.0
    assert goodput.seconds()["restart"] == pytest.approx(10)
