"""Layers that stay as they are, and layers that are trained from a step on."""

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.step.dry_run import DryRun
from trainer.step.freezing import Freeze
from trainer.tasks.protocol import Parts


def opened(freezes, optimizer=lambda: keras.optimizers.Adam(0.01)):
    rng = np.random.default_rng(0)
    data = {"x": rng.integers(0, 255, (64, 28, 28)).astype(np.uint8), "y": np.arange(64) % 10}
    task = examples.classifier(examples.conv_net, optimizer)
    loop, source = examples.new_step(tf.distribute.get_strategy(), task, data, batch_size=16, freezes=freezes)
    return loop, source.open(0)


def moved(loop, batches, steps=3):
    """The weights and statistics of the model that some steps change."""
    before = examples.values(loop)
    loop.train(batches.take(steps))
    after = examples.values(loop)
    return {
        name.removeprefix("models/model/sequential/") for name in before
        if name.startswith("models/") and not np.array_equal(before[name], after[name])
    }  # fmt: skip


def test_frozen_layers_stay_and_need_no_slots():
    loop, batches = opened([Freeze("conv2d|batch_normalization")])
    assert moved(loop, batches) == {"dense/kernel", "dense/bias"}
    slots = [name for name in examples.values(loop) if name.startswith("optimizers/")]
    assert slots and not any("conv2d" in name or "batch_normalization" in name for name in slots)


def test_layers_are_trained_from_their_step_on():
    rule = Freeze("batch_normalization", until=3)
    loop, batches = opened([Freeze("conv2d"), rule])
    assert moved(loop, batches) == {"dense/kernel", "dense/bias"}
    loop.unfreeze(rule)
    statistics = {f"batch_normalization/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    assert moved(loop, batches) == {"dense/kernel", "dense/bias", *statistics}


def test_the_last_rule_on_a_layer_counts():
    last = Freeze("dense", until=2)
    loop, batches = opened([Freeze("."), last])
    with pytest.raises(UsageError, match="nothing is left to train"):
        opened([last, Freeze(".")])
    assert moved(loop, batches, 2) == set()
    loop.unfreeze(last)
    assert moved(loop, batches, 2) == {"dense/kernel", "dense/bias"}


def test_a_dry_run_looks_at_what_is_trained_now():
    """As --mode=check does, which unfreezes all beforehand."""
    loop, batches = opened([Freeze("batch_normalization"), Freeze("conv2d", until=3)])
    segment = next(batches.take(1))
    trained = {"sequential/dense/kernel", "sequential/dense/bias"}
    assert {name.removeprefix("loss/") for name in DryRun(loop.train_step).first_step(segment)["gradients"]} == trained
    loop.unfreeze()
    found = {name.removeprefix("loss/") for name in DryRun(loop.train_step).first_step(segment)["gradients"]}
    assert found == trained | {"sequential/conv2d/kernel", "sequential/conv2d/bias"}


class Scaled(keras.layers.Layer):
    """A weight of its own, beside a layer."""

    def __init__(self):
        super().__init__(name="scaled")
        self.dense = keras.layers.Dense(2)

    def build(self, shape):
        self.scale = self.add_weight(shape=(), name="scale")
        self.dense.build(shape)

    def call(self, inputs):
        return self.scale * self.dense(inputs)


def test_weights_that_no_rule_could_keep_are_refused():
    model = keras.Sequential([keras.Input((3,)), Scaled(), keras.layers.Dense(1)])
    parts = Parts([], {"model": model})
    assert len(Freeze("dense").layers(parts)) == 2
    with pytest.raises(UsageError, match="matches '.*scaled', which has weights of its own beside layers"):
        Freeze("scaled").layers(parts)


def test_one_pattern_is_one_rule():
    with pytest.raises(UsageError, match="two rules of freezes have the same Freeze.pattern"):
        opened([Freeze("conv2d"), Freeze("conv2d", until=3)])


@pytest.mark.parametrize(
    "rule, says",
    [
        ({"pattern": "lstm"}, r"Freeze.pattern = 'lstm' matches none of the layers .*conv2d"),
        ({"pattern": "("}, r"Freeze.pattern = '\(' is not a regular expression"),
        ({"pattern": "conv", "until": 0}, "Freeze.until = 0: give a step of at least 1"),
        ({"pattern": "conv", "model": "encoder"}, "Freeze.model = 'encoder': the task has: model"),
    ],
)
def test_refusals(rule, says):
    with pytest.raises(UsageError, match=says):
        opened([Freeze(**rule)])


def test_layers_that_the_model_itself_froze_cannot_be_unfrozen_later(new_step, digits):
    """Their weights are in no objective, so the run would only say that it trains them."""

    def network():
        model = examples.conv_net()
        model.layers[2].trainable = False
        return model

    data = {"x": digits[0][:8], "y": digits[1][:8]}
    new_step(examples.classifier(network), data, freezes=[Freeze("conv2d")])
    with pytest.raises(UsageError, match="Freeze.until = 3: '.*conv2d/kernel' could not be trained from then on"):
        new_step(examples.classifier(network), data, freezes=[Freeze("conv2d", until=3)])
