"""The host loop: how long its calls are, where they end, and what is owed when a run goes on."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from trainer.actions.action import Action, Attempt, Context, Training
from trainer.actions.evaluate import Evaluate
from trainer.actions.stop import Stop
from trainer.data.global_permutation import GlobalPermutation
from trainer.distributed.collective_wait import CollectiveWait
from trainer.distributed.ranks import Ranks
from trainer.lifecycle.goodput import Goodput
from trainer.lifecycle.stop_requests import StopReason
from trainer.loop.agreement import Agreement
from trainer.loop.controller import Controller
from trainer.loop.reporter import Reporter
from trainer.step.pace import Pace
from trainer.step.results import StepResults
from trainer.tasks.protocol import Parts


class Step:
    """Trains nothing: remembers how many steps each host call had, on a clock that moves with them."""

    is_compiled = True

    def __init__(self, seconds_per_step=1e-9):
        self.collective_wait = CollectiveWait(1)
        self.state = self.train_step = self  # a device loop, its step and their state in one
        self.calls, self.log, self.now, self.reports, self._seconds = [], [], 0.0, 0, seconds_per_step

    def train(self, segments):
        self.calls.append(sum(segments))
        self.log.append("train")
        self.now += self.calls[-1] * self._seconds

    def reset_epoch(self):
        self.log.append("reset")

    def read(self):
        self.reports += 1
        assert self.reports < 10_000, "the loop does not end"
        return StepResults({}, {}, {}, finite=True)


class Data:
    """Segments are numbers of steps."""

    def open(self, first_step, stop_step):
        self.first_step = first_step
        return self

    def take(self, steps):
        return [steps]


class Every(Action):
    """Due at every multiple of a number; remembers where it was called, and ends the run at one step."""

    def __init__(self, every, end=None):
        self.every, self.end, self.called = every, end, []

    def next_step(self, step):
        return (step // self.every + 1) * self.every

    def due(self, step, report):
        return step % self.every == 0

    def __call__(self, report):
        self.called.append(report.step)
        return report.step == self.end


class Requested(NamedTuple):
    """Requests that are there when `stop` says so."""

    stop: Callable[[], bool]

    @property
    def pending(self):
        return StopReason.TERMINATED if self.stop() else StopReason.NONE


def train(step, total, actions=(), first=0, steps_per_epoch=10**6, steps_per_loop=1000, stop=lambda: False):
    """Runs a Controller from `first`; returns the step it got to."""
    goodput, requests = Goodput(0.0, clock=lambda: step.now), Requested(stop)
    alone = Ranks(tf.distribute.get_strategy())
    step.reporter = reporter = Reporter(
        step, GlobalPermutation(steps_per_epoch, 1), goodput, total, first, requests, alone
    )
    data = Data()
    controller = Controller(
        step, data, reporter, actions, goodput, steps_per_epoch, steps_per_loop, Agreement(alone, actions)
    )
    reached = controller.train(first, total)
    assert data.first_step == first
    return reached


def ends(step, first=0):
    """The steps at which host calls ended."""
    return [first + sum(step.calls[: i + 1]) for i in range(len(step.calls))]


def test_calls_end_where_epochs_and_actions_do():
    step, seven, ten = Step(), Every(7), Every(10)
    assert train(step, 40, [seven, ten], steps_per_epoch=16) == 40
    assert seven.called == [7, 14, 21, 28, 35] and ten.called == [10, 20, 30, 40]
    assert {7, 10, 14, 16, 20, 21, 28, 30, 32, 35, 40} <= set(ends(step))
    assert sum(step.calls) == 40


def test_the_sums_of_an_epoch_are_forgotten_at_its_end_alone():
    step = Step()
    train(step, 12, [Every(2)], steps_per_epoch=6)
    assert step.calls == [1, 1, 2, 2, 2, 2, 2]  # the first call compiles, and is short
    assert step.log == ["reset", *["train"] * 4, "reset", *["train"] * 3]
    step = Step()
    train(step, 12, first=7, steps_per_epoch=6)
    assert "reset" not in step.log


def test_the_rate_is_that_of_calls_that_do_not_compile():
    """The first one does, and one after layers were unfrozen."""

    class Recompiled(Step):
        @property
        def is_compiled(self):
            return len(self.calls) not in (0, 3)

        def train(self, segments):
            self.now += 0 if self.is_compiled else 100
            super().train(segments)

    step = Recompiled(seconds_per_step=0.5)
    train(step, 60, steps_per_loop=2)
    assert step.calls[0] == 1 and step.calls[3] == 2
    assert step.reporter.examples == 60 - 1 - 2
    assert step.reporter.examples_per_second == pytest.approx(2.0)


def test_time_between_calls_is_told_apart_from_training():
    """Of an action that takes 7 s at every tenth step, like an evaluation; the first call of all compiles."""
    step, intervals = Step(seconds_per_step=0.5), []

    class Evaluation(Every):
        def __call__(self, report):
            step.now += 7
            return super().__call__(report)

    class Noting(Every):
        def __call__(self, report):
            intervals.append(report.interval)
            return super().__call__(report)

    train(step, 50, [Evaluation(10), Noting(1)], steps_per_loop=1)
    assert [interval.seconds for interval in intervals[1:]] == pytest.approx([0.5] * 49)
    assert [interval.elapsed - interval.seconds for interval in intervals] == pytest.approx(
        [7.0 if done in (10, 20, 30, 40) else 0.0 for done in range(50)]
    )


class Among(NamedTuple):
    """This rank among others, each of which knows something."""

    others: list[list[float]]

    def gather(self, values):
        return np.array([values, *self.others])


def test_what_one_rank_alone_can_know_is_known_to_all():
    """A request to stop, and a save that has failed: on another rank, or on this one."""
    for own, other in ((False, 1), (True, 0)):
        step, others = Step(), Among([[int(StopReason.LEAVE), other, 0, 0, 0, 0]])
        requests = Requested(lambda: False)
        reporter = Reporter(
            step,
            GlobalPermutation(10, 1),
            Goodput(0.0, clock=lambda: 0.0),
            10,
            0,
            requests,
            others,
            lambda own=own: own,
        )
        report = reporter.read(1)
        assert report.save_failed and report.request is StopReason.LEAVE


@pytest.mark.parametrize("limit", [1, 5, 64])
def test_no_call_is_longer_than_the_users_bound(limit):
    step = Step()
    train(step, 1000, steps_per_loop=limit)
    assert max(step.calls) == limit


@pytest.mark.parametrize("seconds_per_step, longest", [(0.3, 3), (0.01, 100), (5.0, 1)])
def test_no_call_is_longer_than_a_second(seconds_per_step, longest):
    """Nothing can interrupt a host call. The clock is the step's own, so that this is exact."""
    step = Step(seconds_per_step)
    train(step, 2000, steps_per_loop=1000)
    assert max(step.calls) == longest
    assert step.calls[:3] == sorted(step.calls[:3])


def test_the_pace_grows_gradually_and_falls_at_once():
    pace = Pace(limit=1000)
    found = [pace.steps]
    for seconds in (1e-9, 1e-9, 1e-9, 1e-9, 10.0):
        pace.measured(pace.steps, seconds)
        found.append(pace.steps)
    assert found == [1, 8, 64, 512, 1000, 100]


def test_an_action_may_end_the_run_after_all_have_acted():
    step, first, second = Step(), Every(5, end=15), Every(5)
    assert train(step, 100, [first, second]) == 15
    assert second.called == [5, 10, 15]


def test_a_run_that_has_arrived_trains_no_more():
    step, action = Step(), Every(5)
    assert train(step, 10, [action], first=10) == 10
    assert step.calls == [] and action.called == []
    assert train(step, 5, [action], first=10) == 10  # a run that was longer once
    assert step.calls == []


class Results:
    """Stands for an evaluator whose every evaluation is interrupted once somebody has asked to stop."""

    def __init__(self):
        self.sources, self.evaluated = {"test": None}, 0

    def evaluate(self, split, should_stop):
        if should_stop():
            return None
        self.evaluated += 1
        return {"loss": 1.0}


class Silent:
    def scalars(self, *arguments):
        pass

    def evaluated(self, *arguments):
        pass


def evaluation(results, total, every, stop=lambda: False):
    alone = Ranks(tf.distribute.get_strategy())
    attempt = Attempt(1, alone, save=lambda step: None, should_stop=stop)
    context = Context(
        total_steps=total, steps_per_epoch=10, evaluator=results, summaries=Silent(), console=Silent(),
        goodput=Goodput(0.0), attempt=attempt, training=Training(Parts([], {}), {}, *[print] * 5),
    )  # fmt: skip
    return Evaluate(context, every)


@pytest.mark.parametrize("every, total, expected", [(10, 25, 3), (10, 20, 2), (None, 7, 1), (None, 15, 2)])
def test_the_last_step_is_always_evaluated_and_once(every, total, expected):
    results = Results()
    assert train(Step(), total, [evaluation(results, total, every)]) == total
    assert results.evaluated == expected


@pytest.mark.parametrize("cut_short_at", [10, 25])
def test_an_evaluation_that_a_stop_cut_short_is_made_up_for(cut_short_at):
    """The stop comes during the evaluation, after the report of that boundary was made."""
    results, asked = Results(), []

    def stop():
        return bool(asked)

    action = evaluation(results, 25, every=10, stop=lambda: asked.append(True) or True)
    action.restore({"done": 20 if cut_short_at == 25 else 0})
    first = 20 if cut_short_at == 25 else 0
    assert train(Step(), 25, [action, Stop(None)], first=first, stop=stop) == cut_short_at
    assert results.evaluated == 0

    step, resumed = Step(), evaluation(results, 25, every=10)
    resumed.restore(action.state())
    seen = []
    record = Every(1)
    record.due = lambda step, report: seen.append((step, dict(report.evaluation))) or False
    assert train(step, 25, [resumed, record], first=cut_short_at) == 25
    assert seen[0] == (cut_short_at, {"test/loss": 1.0})
    assert step.calls == [] if cut_short_at == 25 else sum(step.calls) == 15
    assert results.evaluated == (1 if cut_short_at == 25 else 3)
