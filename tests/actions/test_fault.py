"""Failures on purpose: at one step, on one rank, in one attempt. What follows them is for process and cluster tests."""

import os
import signal
from types import SimpleNamespace

import pytest

from trainer.actions.action import NEVER
from trainer.actions.fault import Fault
from trainer.base.errors import UsageError


def context(rank, ranks, attempt, with_nan=None):
    """What a fault needs of its context; steps whose gradients it makes NaN are added to `with_nan`."""
    append = (with_nan if with_nan is not None else []).append
    return SimpleNamespace(
        total_steps=100,
        attempt=SimpleNamespace(number=attempt, ranks=SimpleNamespace(rank=rank, count=ranks)),
        training=SimpleNamespace(inject_nan=append),
    )


def boundary(step=7, steps=1):
    return SimpleNamespace(step=step, interval=SimpleNamespace(steps=steps))


def fault(rank=0, ranks=2, attempt=1, **options):
    return Fault(context(rank, ranks, attempt), **{"kind": "raise", "step": 7, **options})


def boundaries(action, last=30):
    step, found = 0, []
    while (step := action.next_step(step)) <= last:
        found.append(step)
    return found


def test_it_has_a_boundary_of_its_own_on_all_ranks():
    assert boundaries(fault(rank=0)) == boundaries(fault(rank=1)) == [7]
    assert boundaries(fault(kind="sleep", times=3)) == [7, 8, 9]
    assert fault().next_step(7) == NEVER


def test_it_fails_on_its_rank_alone():
    at = boundary()
    assert fault(rank=1).due(7, at) and fault(rank=1)(at) is False
    with pytest.raises(RuntimeError, match="after step 7"):
        fault(rank=0)(at)


def test_it_meets_no_other_attempt():
    assert boundaries(fault(attempt=2)) == []
    assert not fault(attempt=2).due(7, boundary())
    assert boundaries(fault(attempt=2, **{})) == []


def test_a_boundary_without_steps_is_not_the_one():
    assert not fault().due(7, boundary(steps=0))


def test_gradients_are_made_nan_beforehand_where_it_is_due():
    for rank, attempt, expected in ((1, 1, [7]), (0, 1, []), (1, 2, [])):
        found = []
        Fault(context(rank, 2, attempt, found), "nan", 7, rank=1)
        assert found == expected


@pytest.mark.parametrize(
    "kind, number", [("kill", signal.SIGKILL), ("stop", signal.SIGSTOP), ("drain", signal.SIGTERM)]
)
def test_signals_go_to_this_process(kind, number, monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    fault(kind=kind)(boundary())
    assert sent == [(os.getpid(), number)]


@pytest.mark.parametrize(
    "options, named",
    [
        ({"kind": "explode"}, "Fault.kind = 'explode'"),
        ({"step": 0}, "Fault.step = 0"),
        ({"step": 101}, "Fault.step = 101: the run has 100 steps"),
        ({"rank": 2, "ranks": 2}, "Fault.rank = 2: there are 2 ranks"),
        ({"rank": -1}, "Fault.rank = -1"),
        ({"attempt": 0}, "Fault.attempt"),
        ({"kind": "sleep", "times": 0}, "Fault.times"),
    ],
)
def test_what_makes_no_sense_is_refused(options, named):
    ranks = options.pop("ranks", 2)
    with pytest.raises(UsageError, match=named):
        Fault(context(0, ranks, 1), **{"kind": "raise", "step": 7, **options})
