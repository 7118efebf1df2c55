"""Whether there is another attempt."""

import pytest

from launch.attempts import Attempts, Next
from launch.board import Outcome
from trainer.errors import UsageError
from trainer.requests import Reason


def test_what_ended_by_itself_is_not_tried_again():
    for status in (0, 1, 2, Reason.INTERRUPTED, Reason.TERMINATED):
        assert Attempts().ended({0: Outcome(status), 1: Outcome(0)}, 5).next is Next.END


def test_workers_that_are_to_leave_or_to_be_more_are_not_the_end():
    attempts = Attempts(preemptions=1)
    for saved in range(5):
        assert attempts.ended({0: Outcome(Reason.RESIZE), 1: Outcome(Reason.RESIZE)}, saved).next is Next.AGAIN
    assert attempts.ended({0: Outcome(Reason.LEAVE)}, 5).next is Next.AGAIN
    decision = attempts.ended({0: Outcome(Reason.LEAVE)}, 6)
    assert decision.next is Next.END and "Attempts.preemptions" in decision.why
    unlimited = Attempts()
    assert all(unlimited.ended({0: Outcome(Reason.LEAVE)}, saved).next is Next.AGAIN for saved in range(50))


def test_where_nothing_is_done_between_two_ends_the_next_attempt_waits_longer_and_longer():
    attempts = Attempts()
    waits = [attempts.ended({0: Outcome(Reason.LEAVE)}, 5).after for _ in range(8)]
    assert waits[0] == 0 and waits == sorted(waits) and waits[-1] == 60
    assert attempts.ended({0: Outcome(Reason.LEAVE)}, 6).after == 0


def test_crashes_have_a_budget():
    attempts = Attempts(crashes=2)
    assert [attempts.died(saved).next for saved in (10, 20, 30)] == [Next.AGAIN, Next.AGAIN, Next.END]
    assert "Attempts.crashes" in attempts.died(40).why


def test_dying_again_and_again_at_one_place_ends_the_run():
    attempts = Attempts(at_one_step=2)
    assert [attempts.died(saved).next for saved in (10, 10, 20, 20, 20)] == [*[Next.AGAIN] * 4, Next.END]


@pytest.mark.parametrize("options", [{"crashes": -1}, {"preemptions": -2}, {"at_one_step": 0}])
def test_budgets_that_make_no_sense(options):
    with pytest.raises(UsageError, match=f"Attempts.{next(iter(options))} = "):
        Attempts(**options)
