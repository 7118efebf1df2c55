"""What must survive, as one mapping: put into another step it goes on to the same bits, or is refused by name."""

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.actions.action import Action
from trainer.base.errors import UsageError
from trainer.distributed.ranks import Ranks
from trainer.modes.state import TrainState


class Counter(Action):
    def __init__(self, count=0):
        self.count = count

    def state(self):
        return {"count": self.count}

    def restore(self, state):
        self.count = int(state["count"])


@pytest.fixture
def new(new_step, digits):
    """Makes a step with everything that can be state."""

    def new(net=examples.conv_net, metrics=None, **options):
        task = examples.classifier(net, lambda: keras.optimizers.Adam(1e-2), metrics)
        data = {"x": digits[0][:100], "y": digits[1][:100]}
        return new_step(task, data, shards=2, **{"average_decay": 0.9, "clip_norm": 1.0, **options})

    return new


def test_going_on_from_a_state_gives_the_same_bits(new):
    """Where the step is compiled by XLA, tests/process/test_kills.py shows it."""
    loop, source = new(precision="mixed_float16")
    batches = source.open(0)
    loop.train(batches.take(18))  # the average of the weights moves at the 16th step
    saved = TrainState(loop.state).read()
    loop.train(batches.take(16))
    through = TrainState(loop.state).read()

    loop, source = new(precision="mixed_float16")
    TrainState(loop.state).assign(saved)
    loop.train(source.open(18).take(16))
    resumed = TrainState(loop.state).read()
    assert saved.keys() == through.keys() == resumed.keys()
    for name, value in through.items():
        assert value.dtype == resumed[name].dtype and (value == resumed[name]).all(), name
    assert any((value != saved[name]).any() for name, value in through.items())


def test_names_say_what_a_value_is(new):
    names = set(TrainState(new()[0].state, [Counter()]).read())
    assert {
        "step", "input/digest", "models/model/sequential/conv2d/kernel", "average/loss/sequential/conv2d/kernel",
        "models/model/sequential/batch_normalization/moving_mean", "epoch/loss/sum", "metrics/accuracy/0",
        "optimizers/loss/adam/iteration", "optimizers/loss/adam/sequential_dense_kernel_velocity",
        "actions/Counter/count",
    } <= names  # fmt: skip
    assert not any("seed" in name for name in names)  # functions of the step


def test_actions_get_back_what_they_remembered(new):
    loop, _ = new()
    saved = TrainState(loop.state, [Counter(7)]).read()
    counter = Counter()
    TrainState(loop.state, [counter]).assign(saved)
    assert counter.count == 7


def test_actions_may_write_to_what_they_get_back(new):
    class Counts(Counter):
        def restore(self, state):
            self.count = state["count"]
            self.count += 1

    loop, _ = new()
    saved = TrainState(loop.state, [Counts(np.arange(3))]).read()
    saved["actions/Counts/count"].flags.writeable = False  # as those of a checkpoint
    counts = Counts()
    TrainState(loop.state, [counts]).assign(saved)
    assert counts.count.tolist() == [1, 2, 3] and saved["actions/Counts/count"].tolist() == [0, 1, 2]


def test_actions_and_metrics_may_come_and_go(new):
    saved = TrainState(new()[0].state, [Counter(7)]).read()
    loop, _ = new(metrics=[lambda: keras.metrics.SparseTopKCategoricalAccuracy(k=3, name="top3")])
    TrainState(loop.state).assign(saved)
    counter = Counter(3)
    TrainState(new()[0].state, [counter]).assign(
        {name: v for name, v in saved.items() if not name.startswith("actions/")}
    )
    assert counter.count == 3


def deeper():
    net = examples.conv_net()
    net.add(layers.Dense(10, name="extra"))
    return net


def wider():
    return keras.Sequential([
        layers.Rescaling(1 / 255), layers.Reshape((28, 28, 1)), layers.Conv2D(5, 5, strides=3),
        layers.BatchNormalization(), layers.Flatten(), layers.Dense(10, dtype="float32"),
    ])  # fmt: skip


@pytest.mark.parametrize(
    "there, here, message",
    [
        ({}, {"net": deeper}, "only in this run: .*extra/bias.* and 3 more; use another run_dir"),
        ({"net": deeper}, {}, "only in the checkpoint: .*extra/bias"),
        (
            {},
            {"net": wider},
            r"'models/model/sequential/conv2d/kernel' has shape \[5, 5, 1, 4\] there and \[5, 5, 1, 5\]",
        ),
        ({}, {"average_decay": None}, "only in the checkpoint: average/"),
    ],
)
def test_a_state_of_another_model_is_refused_by_name(new, there, here, message):
    saved = TrainState(new(**there)[0].state).read()
    saved = {name: value + 1 for name, value in saved.items()}
    loop, _ = new(**here)
    before = TrainState(loop.state).read()
    with pytest.raises(UsageError, match=f"different model: .*{message}"):
        TrainState(loop.state).assign(saved)
    assert all((value == before[name]).all() for name, value in TrainState(loop.state).read().items())


def test_reading_copies(new):
    loop, source = new()
    saved = TrainState(loop.state).read()
    kept = {name: np.copy(value) for name, value in saved.items()}
    loop.train(source.open(0).take(3))
    assert all((value == kept[name]).all() for name, value in saved.items())


def test_two_actions_of_one_name_are_refused_if_they_remember_anything(new):
    class Plain(Counter):
        state = Action.state

    loop, _ = new()
    TrainState(loop.state, [Counter(), Plain(), Plain()])
    with pytest.raises(UsageError, match="actions holds two of 'Counter'"):
        TrainState(loop.state, [Counter(), Counter()])


def test_every_value_counts_as_progress(new, progress, converted):
    loop, _ = new()
    state = TrainState(loop.state)
    values = state.read()
    converted.to_tensors.clear()
    assert progress(state.read) == progress(state.assign, values) == len(values) == len(converted.to_tensors)
    assert progress(state.require_equal, Ranks(tf.distribute.get_strategy())) == 2 * len(values)
    assert len(converted.to_bytes) == len(values)
