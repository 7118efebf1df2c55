"""Who is to blame when a group of workers stands still."""

import pytest

from launch.on_ray.hang_detector import HangDetector, HangLimits
from launch.on_ray.status_board import Heartbeat
from launch.on_ray.vitals import Vitals
from trainer.base.errors import UsageError

LIMITS = HangLimits(silence=8, step_seconds=12, data=40, slow=100, times=20)


def stepping(collectives, phase="stepping"):
    return Heartbeat(phase, collectives, 0)


def look(monitor, now, *beats, ages=(0.5, 0.5), **more):
    return monitor.look({rank: (beat, ages[rank]) for rank, beat in enumerate(beats)}, now, **more)


def seen_stepping():
    """A detector that has seen some steps of half a second, up to step 40 of two workers at -1 s."""
    monitor = HangDetector(LIMITS)
    for step in range(36, 41):
        look(monitor, -1 - 0.5 * (40 - step), stepping(step), stepping(step))
    return monitor


def test_workers_that_step_are_left_alone():
    monitor = HangDetector(LIMITS)
    for second in range(100):
        assert look(monitor, second, stepping(10 * second), stepping(10 * second)) == []


def test_who_has_not_arrived_is_to_blame_and_not_who_waits():
    monitor = seen_stepping()
    for second in range(12):
        assert look(monitor, second, stepping(41), stepping(40)) == []
    (hang,) = look(monitor, 12.5, stepping(41), stepping(40))
    assert (hang.rank, hang.phase, hang.collectives, hang.silent) == (1, "stepping", 40, False)
    assert hang.seconds == pytest.approx(13.5)


@pytest.mark.parametrize("phase, limit", [("data", 40), ("other", 12)])
def test_who_is_stuck_elsewhere_while_the_others_wait_in_a_step_is_named_with_its_phase(phase, limit):
    """Waiting for data, or between steps."""
    monitor = seen_stepping()
    look(monitor, 0, stepping(41), stepping(40, phase))
    assert look(monitor, limit, stepping(41), stepping(40, phase)) == []
    (hang,) = look(monitor, limit + 1, stepping(41), stepping(40, phase))
    assert (hang.rank, hang.phase) == (1, phase)


def test_steps_of_training_and_of_evaluation_have_each_their_usual_time():
    """A step of training may take long although batches of an evaluation do not."""
    monitor = HangDetector(LIMITS)
    for step in range(5):
        look(monitor, 15.0 * step, *[stepping(step)] * 2)
    for batch in range(30):
        assert look(monitor, 61 + 0.1 * batch, *[stepping(5 + batch, "evaluation")] * 2) == []
    assert look(monitor, 65, *[stepping(35)] * 2) == look(monitor, 65 + 290, *[stepping(35)] * 2) == []
    assert len(look(monitor, 65 + 301, *[stepping(35)] * 2)) == 2
    evaluating = HangDetector(LIMITS)
    for batch in range(30):
        look(evaluating, 0.1 * batch, *[stepping(5 + batch, "evaluation")] * 2)
    assert len(look(evaluating, 3 + 13, *[stepping(34, "evaluation")] * 2)) == 2


def test_what_actions_take_between_steps_belongs_to_them():
    """Most heartbeats may come between steps, where actions run."""
    monitor = HangDetector(LIMITS)
    for step in range(1, 5):
        look(monitor, step, *[stepping(step, "other")] * 2)
    look(monitor, 5, stepping(6), stepping(5))
    (hang,) = look(monitor, 26, stepping(6), stepping(5))
    assert hang.rank == 1


def test_of_a_group_that_follows_the_usual_time_is_known():
    monitor = seen_stepping()
    monitor.follow_another()
    look(monitor, 100, stepping(2), stepping(1))
    assert [hang.rank for hang in look(monitor, 113, stepping(2), stepping(1))] == [1]


def test_a_worker_alone_is_seen_to_get_on_in_a_long_evaluation():
    monitor = HangDetector(LIMITS)
    for second in range(0, 1000, 5):
        assert monitor.look({0: (stepping(second, "evaluation"), 0.5)}, second) == []


def test_what_is_shown_after_an_evaluation_may_take_long():
    """All make the same texts at once, and none of them steps meanwhile."""
    monitor = HangDetector(LIMITS)
    for second in range(5):
        assert look(monitor, second, *[stepping(40 + second, "evaluation")] * 2) == []
    for second in range(5, 60):
        assert look(monitor, second, *[stepping(44, "showing")] * 2) == []


@pytest.mark.parametrize("vitals", [Vitals.STOPPED, Vitals.ASLEEP, Vitals.GONE])
def test_who_no_longer_beats_is_to_blame_at_once(vitals):
    monitor, beats = HangDetector(LIMITS), (stepping(40), stepping(41))
    look(monitor, 0, *beats)
    assert look(monitor, 8, *beats, ages=(0.5, 7.5), vitals={1: vitals}) == []
    (hang,) = look(monitor, 9, *beats, ages=(0.5, 8.5), vitals={1: vitals})
    assert (hang.rank, hang.silent, hang.seconds) == (1, True, 8.5)


def test_a_node_that_does_not_answer_is_given_as_much_time_again():
    """Its agent may be slow to start. If it is gone, it will never answer."""
    monitor, beats = HangDetector(LIMITS), (stepping(40), stepping(41))
    look(monitor, 0, *beats)
    assert look(monitor, 16, *beats, ages=(0.5, 15.5)) == []
    (hang,) = look(monitor, 17, *beats, ages=(0.5, 16.5))
    assert (hang.rank, hang.silent, hang.seconds) == (1, True, 16.5)


@pytest.mark.parametrize(
    "phase", ["startup", "restart", "compilation", "evaluation", "checkpoint", "other", "stepping"]
)
def test_what_may_be_slow_has_a_limit_of_its_own(phase):
    monitor = HangDetector(LIMITS)
    assert look(monitor, 0, stepping(0, phase), stepping(0, phase)) == []
    assert look(monitor, 99, stepping(0, phase), stepping(0, phase)) == []
    assert [hang.rank for hang in look(monitor, 101, stepping(0, phase), stepping(0, phase))] == [0, 1]


def test_one_that_may_still_be_busy_excuses_the_others():
    """A rank that compiles keeps the others waiting, and none of them hangs."""
    monitor = HangDetector(LIMITS)
    look(monitor, 0, stepping(1), stepping(0, "compilation"))
    assert look(monitor, 50, stepping(1), stepping(0, "compilation")) == []


def test_slow_steps_are_given_time():
    monitor = HangDetector(LIMITS)
    for step in range(5):
        look(monitor, 5.0 * step, stepping(step), stepping(step))
    assert look(monitor, 20 + 90, stepping(4), stepping(4)) == []
    assert len(look(monitor, 20 + 101, stepping(4), stepping(4))) == 2


@pytest.mark.parametrize("name", ["silence", "step_seconds", "data", "slow", "times"])
def test_limits_that_make_no_sense(name):
    with pytest.raises(UsageError, match=f"HangLimits.{name} = 0"):
        HangLimits(**{name: 0})


def test_evaluation_is_slow_until_its_first_batch():
    monitor = HangDetector(LIMITS)
    for second, collectives in ((0, 40), (50, 40), (60, 65)):
        assert look(monitor, second, stepping(collectives, "evaluation"), stepping(collectives, "evaluation")) == []
    look(monitor, 61, stepping(66, "evaluation"), stepping(65, "evaluation"))
    (hang,) = look(monitor, 111, stepping(66, "evaluation"), stepping(65, "evaluation"))
    assert (hang.rank, hang.phase) == (1, "evaluation")


def test_who_does_not_end_when_the_others_have_is_to_blame():
    monitor = seen_stepping()
    beats = {1: (stepping(40, "other"), 0.5)}
    assert monitor.look(beats, 0) == monitor.look(beats, 13) == []
    (hang,) = monitor.look(beats, 14, returned=True)
    assert hang.rank == 1


def test_who_is_not_heard_of_while_the_others_get_on_is_left_alone():
    monitor = HangDetector(LIMITS)
    for second in range(30):
        assert look(monitor, second, stepping(second), stepping(0), ages=(0.5, float(second))) == []


def test_work_of_any_kind_is_progress_where_no_steps_are_counted():
    """Stored features that take hours, a checkpoint of gigabytes: as long as they come on."""
    for phase in ("startup", "checkpoint", "showing", "compilation"):
        monitor = HangDetector(LIMITS)
        for second in range(0, 1000, 50):
            beat = Heartbeat(phase, 0, 0, work=second // 50)
            assert look(monitor, second, beat, beat) == []
        assert look(monitor, 950 + 1000, beat, beat) == [], "20 times the usual 50 s"
        assert [hang.rank for hang in look(monitor, 950 + 1001, beat, beat)] == [0, 1]


def test_phases_have_each_their_usual_time():
    """A checkpoint that takes 80 s each time may take longer for once; what is usual of it says nothing of showing."""
    monitor, now = HangDetector(LIMITS), 0.0
    for save in range(4):
        look(monitor, now, stepping(save), stepping(save))
        look(monitor, now + 1, stepping(save, "checkpoint"), stepping(save, "checkpoint"))
        now += 81
    look(monitor, now, stepping(4, "checkpoint"), stepping(4, "checkpoint"))
    assert look(monitor, now + 1500, *[stepping(4, "checkpoint")] * 2) == []
    assert len(look(monitor, now + 1700, *[stepping(4, "checkpoint")] * 2)) == 2
    look(monitor, now, *[stepping(5, "showing")] * 2)
    assert len(look(monitor, now + 101, *[stepping(5, "showing")] * 2)) == 2


@pytest.mark.parametrize("vitals", [Vitals.RUNNING, Vitals.READING])
def test_who_is_at_work_without_heartbeats_is_left_alone_until_even_that_takes_too_long(vitals):
    monitor = seen_stepping()
    beats = [stepping(41), stepping(40)]
    for second in range(100):
        found = monitor.look({0: (beats[0], 0.5), 1: (beats[1], second + 1)}, second, vitals={1: vitals})
        assert found == []
    (hang,) = monitor.look({0: (beats[0], 0.5), 1: (beats[1], 102)}, 101, vitals={1: vitals})
    assert (hang.rank, hang.silent) == (1, False)
    # What it did while it could not tell is no hang.
    monitor = seen_stepping()
    for second in range(60):
        monitor.look({0: (beats[0], 0.5), 1: (beats[1], second + 1)}, second, vitals={1: vitals})
    for second in range(60, 72):
        assert look(monitor, second, *beats) == [], "it sends heartbeats again, and has its whole limit"
    assert [hang.rank for hang in look(monitor, 73, *beats)] == [1]


def test_one_look_at_which_it_was_asleep_or_its_node_did_not_answer_is_no_hang():
    for gap in ({1: Vitals.ASLEEP}, {}):
        monitor = seen_stepping()
        for second in range(60):
            vitals = gap if second % 5 == 4 else {1: Vitals.RUNNING}
            beats = {0: (stepping(41), 0.5), 1: (stepping(40), second + 1)}
            assert monitor.look(beats, second, vitals=vitals) == [], second


def test_heartbeats_that_grew_old_while_nobody_looked_are_no_hang():
    """The board was stopped, or the machine; the driver's own time tells."""
    monitor = seen_stepping()
    beats = stepping(41), stepping(40)
    assert look(monitor, 0, *beats) == look(monitor, 1, *beats, ages=(60, 60)) == []
    assert look(monitor, 2, *beats, ages=(0.1, 0.1)) == []


@pytest.mark.parametrize("phase", ["other", "checkpoint"])
def test_who_waits_between_steps_for_another_worker_is_not_to_blame(phase):
    """In what they share there: the other one has not come to it."""
    monitor = seen_stepping()
    ahead, behind = (Heartbeat(phase, 40, 0, meetings=number) for number in (8, 7))
    limit = 12 if phase == "other" else 100
    look(monitor, 0, ahead, behind)
    assert look(monitor, limit, ahead, behind) == []
    assert [hang.rank for hang in look(monitor, limit + 1, ahead, behind)] == [1]
    monitor = seen_stepping()
    look(monitor, 0, ahead, ahead)
    assert look(monitor, 99, ahead, ahead) == [], "all take long together"
