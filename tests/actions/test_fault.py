"""Failures on purpose: at one step, on one rank, in one attempt. What follows them is for process and cluster tests."""

import os
import signal
from types import SimpleNamespace

import pytest

from trainer.actions.action import NEVER
from trainer.actions.fault import Fault
from trainer.errors import UsageError


def fault(rank=0, ranks=2, attempt=1, poisoned=None, **options):
    context = SimpleNamespace(
        ranks=SimpleNamespace(rank=rank, count=ranks), attempt=attempt, poison=(poisoned or []).append
    )
    return Fault(context, **{"kind": "raise", "step": 7, **options})


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
    at = SimpleNamespace(step=7, steps=1)
    assert fault(rank=1).due(7, at) and fault(rank=1)(at) is False
    with pytest.raises(RuntimeError, match="after step 7"):
        fault(rank=0)(at)


def test_it_meets_no_other_attempt():
    assert boundaries(fault(attempt=2)) == []
    assert not fault(attempt=2).due(7, SimpleNamespace(step=7, steps=1))
    assert boundaries(fault(attempt=2, **{})) == []


def test_a_boundary_without_steps_is_not_the_one():
    assert not fault().due(7, SimpleNamespace(step=7, steps=0))


def test_gradients_are_poisoned_beforehand_where_it_is_due():
    for rank, attempt, expected in ((1, 1, [7]), (0, 1, []), (1, 2, [])):
        poisoned = []
        context = SimpleNamespace(ranks=SimpleNamespace(rank=rank, count=2), attempt=attempt, poison=poisoned.append)
        Fault(context, "nan", 7, rank=1)
        assert poisoned == expected


@pytest.mark.parametrize(
    "kind, number", [("kill", signal.SIGKILL), ("stop", signal.SIGSTOP), ("drain", signal.SIGTERM)]
)
def test_signals_go_to_this_process(kind, number, monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    fault(kind=kind)(SimpleNamespace(step=7, steps=1))
    assert sent == [(os.getpid(), number)]


@pytest.mark.parametrize(
    "options, named",
    [
        ({"kind": "explode"}, "Fault.kind = 'explode'"),
        ({"step": 0}, "Fault.step = 0"),
        ({"rank": 2, "ranks": 2}, "Fault.rank = 2: there are 2 ranks"),
        ({"rank": -1}, "Fault.rank = -1"),
        ({"attempt": 0}, "Fault.attempt"),
        ({"kind": "sleep", "times": 0}, "Fault.times"),
    ],
)
def test_what_makes_no_sense_is_refused(options, named):
    ranks = options.pop("ranks", 2)
    context = SimpleNamespace(ranks=SimpleNamespace(rank=0, count=ranks), attempt=1, poison=print)
    with pytest.raises(UsageError, match=named):
        Fault(context, **{"kind": "raise", "step": 7, **options})
