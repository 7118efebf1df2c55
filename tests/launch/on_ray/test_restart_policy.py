"""Whether there is another attempt."""

import pytest

from launch.on_ray.restart_policy import Next, RestartPolicy, exit_status
from launch.on_ray.status_board import TROUBLE, Outcome
from trainer.base.errors import TrainingError, UsageError
from trainer.lifecycle.stop_requests import StopReason


def test_what_ended_by_itself_is_not_tried_again():
    for status in (0, 1, 2, StopReason.INTERRUPTED, StopReason.TERMINATED):
        assert RestartPolicy().ended({0: Outcome(status), 1: Outcome(0)}, 5).next is Next.END


def test_workers_that_are_to_leave_or_to_be_more_are_not_the_end():
    attempts = RestartPolicy(preemptions=1)
    for saved in range(5):
        assert attempts.ended({0: Outcome(StopReason.RESIZE), 1: Outcome(StopReason.RESIZE)}, saved).next is Next.AGAIN
    assert attempts.ended({0: Outcome(StopReason.LEAVE)}, 5).next is Next.AGAIN
    decision = attempts.ended({0: Outcome(StopReason.LEAVE)}, 6)
    assert decision.next is Next.END and "RestartPolicy.preemptions" in decision.why
    unlimited = RestartPolicy()
    assert all(unlimited.ended({0: Outcome(StopReason.LEAVE)}, saved).next is Next.AGAIN for saved in range(50))


def test_where_nothing_is_done_between_two_ends_the_next_attempt_waits_longer_and_longer():
    attempts = RestartPolicy()
    waits = [attempts.ended({0: Outcome(StopReason.LEAVE)}, 5).after for _ in range(8)]
    assert waits[0] == 0 and waits == sorted(waits) and waits[-1] == 60
    assert attempts.ended({0: Outcome(StopReason.LEAVE)}, 6).after == 0


def test_crashes_have_a_budget_that_progress_fills_again():
    attempts = RestartPolicy(crashes=2)
    assert [attempts.died(10, "gone").next for _ in range(3)] == [Next.AGAIN, Next.AGAIN, Next.END]
    assert attempts.died(10, "how it died").why == "RestartPolicy.crashes is spent; the last: how it died"
    attempts = RestartPolicy(crashes=1)
    assert all(attempts.died(saved, "gone").next is Next.AGAIN for saved in range(50))
    assert RestartPolicy(crashes=0).died(10, "gone").next is Next.END


def test_deaths_without_progress_end_the_run():
    attempts = RestartPolicy(without_progress=2)
    assert [attempts.died(saved, "gone").next for saved in (10, 10, 20, 20, 20)] == [*[Next.AGAIN] * 4, Next.END]
    assert (
        "4 attempts in a row died before they saved anything, the last one so: gone " in attempts.died(20, "gone").why
    )


@pytest.mark.parametrize("options", [{"crashes": -1}, {"preemptions": -2}, {"without_progress": 0}])
def test_budgets_that_make_no_sense(options):
    with pytest.raises(UsageError, match=f"RestartPolicy.{next(iter(options))} = "):
        RestartPolicy(**options)


def test_the_exit_status_is_the_workers():
    assert exit_status({0: Outcome(0), 1: Outcome(0)}, "") == 0
    stopped = {0: Outcome(StopReason.TERMINATED), 1: Outcome(0, "abandoned")}
    assert exit_status(stopped, "") == StopReason.TERMINATED
    with pytest.raises(TrainingError, match="Ray ended the workers without a reason"):
        exit_status({}, "")


@pytest.mark.parametrize(
    "outcomes, error, said",
    [
        ({1: Outcome(1, "boom", "the trace\n"), 0: Outcome(0, "abandoned")}, TrainingError, "worker 1: the trace"),
        ({1: Outcome(1, "boom", "trace"), 0: Outcome(1, "boom", "trace")}, TrainingError, "trace"),  # said once
        ({0: Outcome(2, "no such rows"), 1: Outcome(2, "no such rows")}, UsageError, "no such rows"),
        ({1: Outcome(2, "no such rows"), 0: Outcome(0, "abandoned")}, UsageError, "worker 1: no such rows"),
    ],
)
def test_what_workers_failed_with_is_said_once_and_of_whom(outcomes, error, said):
    with pytest.raises(error) as raised:
        exit_status(outcomes, "")
    assert raised.value.message == said


def test_a_run_that_was_given_up_says_why():
    with pytest.raises(TrainingError, match="the run ended: RestartPolicy.crashes is spent; run the same command to"):
        exit_status({}, "RestartPolicy.crashes is spent")


def test_what_a_disk_or_a_network_has_and_may_pass_is_tried_again_and_a_bug_is_not():
    trouble, bug = Outcome(TROUBLE, "the disk is full"), Outcome(1, "a bug")
    attempts = RestartPolicy(without_progress=2)
    found = [attempts.ended({0: trouble, 1: Outcome(0)}, 5) for _ in range(3)]
    assert [decision.next for decision in found] == [Next.AGAIN, Next.AGAIN, Next.END]
    assert found[0].why == "the disk is full" and 0 < found[0].after < found[1].after
    assert RestartPolicy().ended({0: trouble, 1: bug}, 5).next is Next.END
    with pytest.raises(TrainingError, match="3 attempts in a row .* the last one so: the disk is full"):
        exit_status({0: trouble, 1: Outcome(0)}, found[-1].why)
    with pytest.raises(TrainingError, match="^worker 1: a bug$"):
        exit_status({1: bug, 0: Outcome(0)}, "")
