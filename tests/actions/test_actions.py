"""What happens at step boundaries: when each action is due, what it does, and what it remembers."""

import contextlib
import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from trainer.actions.action import NEVER, Attempt, Context, Training
from trainer.actions.checkpoint import Checkpoint
from trainer.actions.early_stopping import EarlyStopping
from trainer.actions.evaluate import Evaluate
from trainer.actions.log import Log
from trainer.actions.non_finite import NonFinite
from trainer.actions.progress import Progress
from trainer.actions.projector import Projector
from trainer.actions.reduce_on_plateau import ReduceOnPlateau
from trainer.actions.show import Show
from trainer.actions.stop import Stop
from trainer.actions.unfreeze import Unfreeze
from trainer.base.errors import TrainingError, UsageError
from trainer.data.source import Field
from trainer.distributed.ranks import Ranks
from trainer.lifecycle.goodput import Goodput
from trainer.lifecycle.stop_requests import StopReason
from trainer.observe.console import Console
from trainer.observe.report import Interval, Position, Report
from trainer.observe.summaries import Summaries
from trainer.step.freezing import Freeze
from trainer.step.results import StepResults
from trainer.tasks.protocol import Parts


class Evaluated:
    """An evaluator of two splits, whose results are given beforehand."""

    def __init__(self):
        self.sources, self.results = {"validation": None, "test": None}, {"loss": 0.5}

    def names(self, split):
        return self.results

    def better(self, name):
        return {"loss": "min", "accuracy": "max"}.get(name)

    def weights(self):
        return contextlib.nullcontext()

    def evaluate(self, split, should_stop):
        return None if should_stop() else {"split": float(split == "test"), **self.results}


@dataclasses.dataclass
class Run:
    """The context of a run of 100 steps, 30 per epoch."""

    context: Context
    saved: list
    asked: list
    factors: list
    weights: dict

    def scalars(self, run, name):
        self.context.summaries.commit()
        accumulator = EventAccumulator(f"{self.context.summaries._directory}/{run}", size_guidance={"tensors": 0})
        events = accumulator.Reload().Tensors(name)
        return sorted((event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in events)


@pytest.fixture
def run(tmp_path):
    saved, asked, factors, weights = [], [], [], {"kernel": np.zeros(2)}
    attempt = Attempt(
        1, Ranks(tf.distribute.get_strategy()), saved.append,
        should_stop=lambda: bool(asked),
    )  # fmt: skip
    training = Training(
        Parts([], {}), {}, lambda step: None, factors.append, lambda rule: None, weights.copy, weights.update
    )
    context = Context(
        total_steps=100, steps_per_epoch=30, evaluator=Evaluated(), summaries=Summaries(tmp_path), console=Console(),
        goodput=Goodput(0.0), attempt=attempt, training=training,
    )  # fmt: skip
    return Run(context, saved, asked, factors, weights)


def report(step, request=StopReason.NONE, finite=True, **changes):
    """What a boundary tells; what differs from the usual is given by the names of the records' fields."""
    values = {
        "losses": {"loss": (4.0, 2.0)}, "metrics": {"accuracy": 0.75}, "hyperparameters": {"learning_rate": 0.125},
        "steps": 10, "examples": 320, "seconds": 2.0, "waiting_for_data": 0.5, "elapsed": 2.5,
        "collective_wait": (0.25,), "evaluation": {},
    } | changes  # fmt: skip
    evaluation = values.pop("evaluation")
    results = StepResults(*(values.pop(name) for name in ("losses", "metrics", "hyperparameters")), finite)
    return Report(Position(step, 100, 1, 4), results, Interval(**values), request, evaluation=evaluation)


@pytest.mark.parametrize("make", [Checkpoint, Log, Evaluate])
def test_periods_are_in_steps_or_an_epoch(run, make):
    action = make(run.context, every=40)
    assert [action.next_step(step) for step in (0, 1, 39)] == [40, 40, 40]
    assert make(run.context, every=None).next_step(0) == 30
    assert make(run.context, every=100).next_step(0) == 100
    for every in (0, 101):
        with pytest.raises(UsageError, match=f"{make.__name__}.every = {every}: give a number of steps from 1 to 100"):
            make(run.context, every=every)


def test_checkpoints_are_saved_at_the_period_and_at_the_end(run):
    action = Checkpoint(run.context, every=40)
    due = [step for step in range(1, 101) if action.due(step, report(step))]
    assert due == [40, 80, 100]
    assert action(report(40)) is False
    assert run.saved == [40]


def test_a_save_that_failed_on_any_rank_is_looked_at_by_all_at_the_next_boundary(run):
    action, found = Checkpoint(run.context, every=40), report(41)
    assert not action.due(41, found)
    found.save_failed = True
    assert action.due(41, found)


def test_evaluations_are_written_and_reported(run, capsys):
    action, found = Evaluate(run.context, every=40, split="validation"), report(40)
    assert action.due(40, found) and action(found) is False
    assert found.evaluation == {"validation/split": 0.0, "validation/loss": 0.5}
    assert run.scalars("eval/validation", "loss") == [(40, 0.5)]  # there is another split
    assert "validation split 0 loss 0.5" in capsys.readouterr().out
    assert not action.due(40, found) and action.next_step(40) == 80
    assert run.context.goodput.seconds()["evaluation"] > 0


def test_an_evaluation_that_was_cut_short_stays_owed(run):
    run.asked.append(True)
    action = Evaluate(run.context, every=40)
    assert action(report(40)) is True
    resumed = Evaluate(run.context, every=40)
    resumed.restore(action.state())
    assert resumed.next_step(40) == 40 and resumed.due(40, report(40))
    run.asked.clear()
    resumed(report(40))
    third = Evaluate(run.context, every=40)
    third.restore(resumed.state())
    assert third.next_step(40) == 80


def test_a_split_that_is_not_there_is_refused(run):
    with pytest.raises(UsageError, match=r"Evaluate\.split = 'dev'.*it has: validation, test"):
        Evaluate(run.context, split="dev")
    run.context.evaluator.sources.clear()
    with pytest.raises(UsageError, match="it has: none"):
        Evaluate(run.context)


def test_the_logged_loss_is_the_mean_over_the_period(run):
    action = Log(run.context, every=20)
    assert not action.due(10, report(10, losses={"loss": (3.0, 1.0)}))
    assert action.due(20, report(20, losses={"loss": (1.0, 3.0)}, metrics={"loss": 9.0, "accuracy": 0.75}))
    action(report(20, metrics={"loss": 9.0, "accuracy": 0.75}))
    expected = {"loss": 1.0, "accuracy": 0.75, "learning_rate": 0.125, "examples_per_second": 160.0}
    assert {name: run.scalars("train", name) for name in expected} == {
        name: [(20, value)] for name, value in expected.items()
    }
    assert run.scalars("train", "waiting_for_data") == [(20, 0.25)]
    # The next period starts from nothing; an epoch's end is logged too.
    assert action.due(30, report(30, losses={"loss": (8.0, 1.0)}))
    action(report(30))
    assert run.scalars("train", "loss") == [(20, 1.0), (30, 8.0)]


def test_a_period_goes_on_after_a_resume(run):
    before, after = Log(run.context, every=20), Log(run.context, every=20)
    before.due(10, report(10, losses={"loss": (3.0, 1.0), "other/part": (2.0, 1.0)}))
    after.restore(before.state())
    after.due(20, report(20, losses={"loss": (1.0, 3.0), "other/part": (2.0, 1.0)}))
    after(report(20))
    assert run.scalars("train", "loss") == [(20, 1.0)] and run.scalars("train", "other/part") == [(20, 2.0)]


def stopped_at(action, values, name="validation/loss"):
    """The index of the evaluation after which the action ends the run."""
    for i, value in enumerate(values):
        found = report(i, evaluation={name: value})
        if action.due(i, found) and action(found):
            return i
    return None


@pytest.mark.parametrize(
    "options, values, expected",
    [
        ({}, [5, 4, 3, 2, 1, 0], None),
        ({}, [5, 4, 6, 6, 6], 4),
        ({}, [5, 4, 6, 6, 3, 6, 6, 6], 7),
        ({"patience": 1}, [5, 5], 1),
        ({"mode": "max"}, [1, 2, 3, 3, 3, 3], 5),
        ({"min_delta": 0.5, "patience": 2}, [5, 4.8, 4.6], 2),
        ({}, [math.nan] * 4, 2),
    ],
)
def test_early_stopping_waits_for_improvement(run, options, values, expected, capsys):
    assert stopped_at(EarlyStopping(run.context, **options), values) == expected
    assert ("stopping early: validation/loss" in capsys.readouterr().out) == (expected is not None)


def test_early_stopping_remembers_across_a_resume(run):
    first, second = EarlyStopping(run.context), EarlyStopping(run.context)
    assert stopped_at(first, [1, 2, 2]) is None
    second.restore(first.state())
    assert stopped_at(second, [2]) == 0


def test_the_best_of_one_value_is_not_that_of_another(run):
    """What a run is restored by; it may go on with another value, or with more than one rule."""
    others = [{"monitor": "test/loss"}, {"mode": "max"}]
    names = [EarlyStopping(run.context, **options).name for options in [{}, {"patience": 7}, *others]]
    assert names[0] == names[1] and len(set(names)) == 3


def test_the_direction_is_that_of_the_metric_and_never_guessed(run):
    run.context.evaluator.results |= {"accuracy": 0.5, "odd": 0.5}
    better = EarlyStopping(run.context, monitor="validation/accuracy", patience=1)
    assert better.mode == "max"
    assert [better(report(step, evaluation={"validation/accuracy": step / 10})) for step in (1, 2, 3, 2)] == [
        False, False, False, True,
    ]  # fmt: skip
    assert ReduceOnPlateau(run.context, monitor="test/accuracy").mode == "max"
    with pytest.raises(UsageError, match="EarlyStopping.mode = 'auto': .*'test/odd' is better is not known"):
        EarlyStopping(run.context, monitor="test/odd")
    assert EarlyStopping(run.context, monitor="test/odd", mode="max").mode == "max"


def test_what_is_no_number_is_called_so(run, capsys):
    assert stopped_at(EarlyStopping(run.context), [math.nan] * 3) == 2
    assert "validation/loss is not a number (NaN) for 3 evaluations" in capsys.readouterr().out
    assert stopped_at(EarlyStopping(run.context), [1.0, math.nan, 2.0, 2.0]) == 3
    assert "validation/loss has not improved on 1 for 3 evaluations" in capsys.readouterr().out


@pytest.mark.parametrize("resumed_after", [None, 1, 2])
@pytest.mark.parametrize("last", [40, 100])
def test_the_best_weights_come_back_at_the_end(run, capsys, last, resumed_after):
    """Whether the run ends early or at its last step; with the evaluation that is theirs."""
    make = lambda: EarlyStopping(run.context, patience=2 if last < 100 else 9, restore_best=True)
    action = make()
    for number, (step, loss) in enumerate({10: 3.0, 20: 1.0, 30: 2.0, last: 2.0}.items()):
        run.weights["kernel"] = np.full(2, step)
        found = report(step, evaluation={"validation/loss": loss, "validation/accuracy": loss / 10})
        assert action.due(step, found)
        ended = action(found)
        if number == resumed_after:
            before, action = action, make()
            action.restore({name: np.asarray(value) for name, value in before.state().items()})
    assert ended is (last < 100)
    assert run.weights["kernel"].tolist() == [20, 20]
    assert found.final == {"validation/loss": 1.0, "validation/accuracy": 0.1}
    assert found.evaluation["validation/loss"] == 2.0, "what others decide by is the newest"
    assert "the weights are those of step 20 again, whose validation/loss of 1 was the best" in capsys.readouterr().out


def test_a_run_that_goes_on_after_stopping_early_has_its_patience_anew(run):
    action = EarlyStopping(run.context, patience=2)
    told = [
        action(report(step, evaluation={"validation/loss": loss})) for step, loss in ((10, 1.0), (20, 2.0), (30, 2.0))
    ]
    assert told == [False, False, True]
    told = [action(report(step, evaluation={"validation/loss": 2.0})) for step in (40, 50)]
    assert told == [False, True]


def test_at_the_last_step_the_best_weights_come_back_without_an_evaluation(run):
    action = EarlyStopping(run.context, restore_best=True)
    action(report(10, evaluation={"validation/loss": 1.0}))
    run.weights["kernel"] = np.ones(2)
    assert not action.due(90, report(90)) and action.due(100, report(100))
    assert action(report(100)) is False and run.weights["kernel"].tolist() == [0, 0]


def test_early_stopping_acts_on_evaluations_alone(run):
    assert not EarlyStopping(run.context).due(10, report(10))
    assert EarlyStopping(run.context).next_step(10) == NEVER


@pytest.mark.parametrize("options, name", [({"mode": "less"}, "mode"), ({"patience": 0}, "patience")])
def test_early_stopping_refuses_what_makes_no_sense(run, options, name):
    with pytest.raises(UsageError, match=f"EarlyStopping.{name} = "):
        EarlyStopping(run.context, **options)


def test_early_stopping_names_what_could_be_monitored(run):
    with pytest.raises(UsageError, match=r"monitor = 'validation/f1'.*there are: validation/loss, test/loss"):
        EarlyStopping(run.context, monitor="validation/f1")


def test_early_stopping_waits_for_the_split_it_monitors(run):
    action = EarlyStopping(run.context, monitor="validation/loss")
    assert not action.due(10, report(10, evaluation={"test/loss": 1.0}))
    assert action.due(10, report(10, evaluation={"validation/loss": 1.0}))


def test_what_is_no_number_ends_the_run(run):
    action = NonFinite(run.context)
    assert not action.due(10, report(10))
    assert action.due(10, report(10, finite=False))
    with pytest.raises(TrainingError, match=r"not finite at step 10 .* Arithmetic\.clip_norm"):
        action(report(10, finite=False))


def test_a_float16_run_that_nothing_can_scale_ends(run):
    action = NonFinite(run.context)
    found = report(20, hyperparameters={"skipped_steps": 17.0})
    found.results = found.results._replace(exhausted=True)
    assert action.due(20, found)
    with pytest.raises(
        TrainingError, match=r"not finite in float16.*at step 20; 17 steps were skipped.*mixed_bfloat16"
    ):
        action(found)


def test_a_request_to_stop_is_followed(run):
    action = Stop(run.context)
    assert not action.due(10, report(10))
    found = report(10, request=StopReason.TERMINATED)
    assert action.due(10, found) and action(found) is True


def test_progress_is_shown(run, capsys):
    assert Progress(run.context).due(100, report(100))
    assert Progress(run.context)(report(100)) is False
    line = capsys.readouterr().out
    for part in ("step 100/100", "epoch 1/4", "accuracy 0.75", "160 examples/s", "data 25%"):
        assert part in line


def evaluated(action, values):
    """What the action is told of a metric, evaluation after evaluation."""
    for i, value in enumerate(values):
        told = report(10 * (i + 1))
        told.evaluation["validation/loss"] = value
        assert action.due(told.step, told) and action(told) is False


@pytest.mark.parametrize(
    "options, values, expected",
    [
        ({}, [3, 2, 1, 1, 1], []),
        ({}, [3, 2, 2, 2, 2], [0.1]),
        ({"patience": 1, "factor": 0.5}, [3, 3, 3, 2, 3], [0.5, 0.25, 0.125]),
        ({"patience": 1, "factor": 0.5, "least": 0.3}, [3, 3, 3, 3], [0.5, 0.3]),
        ({"patience": 1, "mode": "max"}, [3, 4, 5], []),
        ({"patience": 1, "min_delta": 0.5}, [3, 2.6], [0.1]),
    ],
)
def test_the_learning_rate_falls_on_a_plateau(run, options, values, expected):
    evaluated(ReduceOnPlateau(run.context, **options), values)
    assert run.factors == pytest.approx([1.0, *expected])


def test_a_lowered_learning_rate_is_remembered_across_a_resume(run):
    first = ReduceOnPlateau(run.context, patience=2, factor=0.5)
    evaluated(first, [3, 3, 3, 3])
    second = ReduceOnPlateau(run.context, patience=2, factor=0.5)
    second.restore(first.state())
    assert run.factors == [1.0, 0.5, 1.0, 0.5]
    evaluated(second, [3])
    assert run.factors[-1] == 0.25


@pytest.mark.parametrize(
    "options, name",
    [({"mode": "less"}, "mode"), ({"patience": 0}, "patience"), ({"factor": 1}, "factor"), ({"least": 1.0}, "least")],
)
def test_reducing_refuses_what_makes_no_sense(run, options, name):
    with pytest.raises(UsageError, match=f"ReduceOnPlateau.{name} = "):
        ReduceOnPlateau(run.context, **options)


def test_a_rule_of_freezing_ends_once_and_stays_ended(run):
    unfrozen = []
    context = run.context._replace(training=run.context.training._replace(unfreeze=unfrozen.append))
    rule = Freeze("dense", until=20)
    action, other = Unfreeze(context, rule), Unfreeze(context, Freeze("conv", until=20))
    assert [action.next_step(step) for step in (0, 19, 20, 25)] == [20, 20, 20, 25] and action.name != other.name
    assert action.name != Unfreeze(context, Freeze("dense", until=20, model="generator")).name
    assert not action.due(19, report(19)) and action.due(20, report(20))
    action(report(20))
    assert unfrozen == [rule] and action.next_step(20) == NEVER and not action.due(20, report(20))
    again = Unfreeze(context, rule)
    again.restore(action.state())
    assert unfrozen == [rule, rule] and not again.due(30, report(30))


class Showing(Evaluated):
    has_samples = True

    def samples(self, count, seed):
        image = np.zeros((count, 4, 6, 1), np.float32)
        return {"images/made": image + 0.5, "text/written": np.array([b"one", "zwei \N{SNOWMAN}".encode()])}


def test_what_a_task_shows_is_in_tensorboard_and_in_files(run, tmp_path, progress):
    context = run.context._replace(evaluator=Showing(), summaries=Summaries(tmp_path / "run" / "tensorboard"))
    action = Show(context, every=None, count=3)
    assert action.next_step(0) == 30 and not action.due(0, report(0))
    assert progress(action, report(30)) == 1 + 2  # making them, and writing each
    assert not action.due(30, report(30)) and action.due(60, report(60))
    again = Show(context, every=None, count=3)
    again.restore(action.state())
    assert not again.due(30, report(30))
    context.summaries.commit()
    picture = tf.io.decode_png((tmp_path / "run" / "images" / "made_00000030.png").read_bytes())
    assert picture.shape == (8, 12, 1) and picture[0, 0, 0] == 128 and picture[7, 11, 0] == 255
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "train"), size_guidance={"tensors": 0}).Reload()
    assert set(events.Tags()["tensors"]) == {"made", "written"}
    assert "zwei \N{SNOWMAN}" in tensor_util.make_ndarray(events.Tensors("written")[0].tensor_proto).item().decode()


def test_nothing_is_shown_by_a_task_that_has_nothing_to_show(run):
    Showing.has_samples, before = False, Showing.has_samples
    try:
        action = Show(run.context._replace(evaluator=Showing()), every=10)
        assert action.next_step(0) == NEVER and not action.due(10, report(10))
    finally:
        Showing.has_samples = before


def test_word_vectors_go_to_the_projector(run, tmp_path):
    model = keras.Sequential([keras.layers.Embedding(5, 3, name="embedding")])
    model(tf.zeros((1, 2), tf.int32))
    fields = {"x": Field((2,), "int32", 0, 3, ("", "[UNK]", "a\tb", "c"))}
    training = run.context.training._replace(parts=Parts([], {"model": model}), fields=fields)
    context = run.context._replace(training=training, summaries=Summaries(tmp_path / "tensorboard"))
    Projector(context)(report(30))
    folder = tmp_path / "tensorboard" / "train"
    assert (folder / "meta.tsv").read_text() == "[UNK]\na b\nc\n"
    written = np.loadtxt(folder / "vecs.tsv", delimiter="\t")
    np.testing.assert_allclose(written, np.asarray(model.layers[0].embeddings)[1:4], rtol=1e-5)
    assert 'tensor_path: "vecs.tsv"' in (folder / "projector_config.pbtxt").read_text()
    with pytest.raises(UsageError, match="no layers.Embedding is called 'words'; the model has: embedding"):
        Projector(context, layer="words")
    with pytest.raises(UsageError, match="the data has no field 'x' with a vocabulary"):
        Projector(context._replace(training=training._replace(fields={"x": Field((2,), "int32")})))
