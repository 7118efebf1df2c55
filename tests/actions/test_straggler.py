"""The worker that the others wait for is named, once."""

from types import SimpleNamespace

import pytest

from trainer.actions.straggler import Straggler
from trainer.base.errors import UsageError


def told(*reports, **options):
    """What is said of reports, each a tuple of the seconds of training and of those in the collective, by rank."""
    lines = []
    action = Straggler(SimpleNamespace(console=SimpleNamespace(say=lines.append)), **options)
    for step, (seconds, waits) in enumerate(reports, 1):
        report = SimpleNamespace(step=step, interval=SimpleNamespace(seconds=seconds, collective_wait=waits))
        if action.due(step, report):
            assert action(report) is False
    return lines


def test_it_is_named_once_and_again_when_it_is_slow_no_more():
    slow, even = (5.0, (4.0, 0.5, 4.5)), (5.0, (1.0, 1.1, 0.9))
    lines = told(*[slow] * 6, *[even] * 4)
    assert lines == [
        "worker 1 is slow: the others wait for it 75% of the time, at step 2",
        "worker 1 is no longer slow, at step 8",
    ]


def test_time_that_all_wait_alike_is_nobodys_fault():
    assert told(*[(5.0, (4.0, 4.2))] * 10) == []


def test_one_process_has_nobody_to_wait_for():
    assert told(*[(20.0, (0.0,))] * 3) == []


@pytest.mark.parametrize("options", [{"share": 0.0}, {"share": 1.0}, {"seconds": 0.0}])
def test_what_makes_no_sense_is_refused(options):
    with pytest.raises(UsageError, match=f"Straggler.{next(iter(options))} = "):
        told(**options)
