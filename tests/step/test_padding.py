"""Losses that layers add: Keras's value at any batch size and number of shards, and padding stays out."""

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.base.errors import UsageError
from trainer.data.pipeline import Layout
from trainer.data.sources.arrays import Arrays
from trainer.distributed.collective_wait import CollectiveWait
from trainer.step.averaging import NoAverage
from trainer.step.evaluation import Evaluator
from trainer.step.padding import without_padding
from trainer.step.trial import try_step

N = 10
RANDOM = np.random.default_rng(0)
DATA = {"x": RANDOM.normal(size=(N, 3)).astype(np.float32), "y": np.arange(N) % 4}


class Penalty(layers.Layer):
    """Adds a loss: of what goes through it, its weights, or both."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.drop = kind, layers.Dropout(0.5)

    def build(self, shape):
        self.scale = self.add_weight((3,), "ones")

    def call(self, x):
        each, weights = tf.reduce_mean(x**2, axis=-1), self.scale**2
        found = {
            "mean": lambda: tf.reduce_mean(each),
            "each": lambda: each,
            "features": lambda: x**2 / 6,
            "weights": lambda: weights,
            "sum": lambda: tf.reduce_sum(each),
            "sum and weights": lambda: tf.reduce_sum(each) + tf.reduce_sum(weights),
            "norm": lambda: tf.norm(x),
            "by feature": lambda: tf.reduce_sum(x**2, axis=0),
            "sum after dropout": lambda: tf.reduce_sum(self.drop(x) ** 2),
        }
        self.add_loss(0.5 * found[self.kind]())
        return x


def network(kind):
    if kind == "activity":
        hidden = [layers.Dense(6, activity_regularizer=keras.regularizers.L2(0.3))]
    else:
        hidden = [layers.Dense(6), Penalty(kind)]
    return keras.Sequential([*hidden, layers.Dense(4, kernel_regularizer=keras.regularizers.L2(0.1))])


def plain(model, kind):
    """Keras's loss of a batch, written out."""
    x, y = DATA["x"], DATA["y"]
    hidden = model.layers[0](x)
    logits = model.layers[-1](hidden)
    each = tf.reduce_mean(hidden**2, axis=-1)
    added = {
        "mean": 0.5 * tf.reduce_mean(each), "each": 0.5 * tf.reduce_sum(each), "features": 0.5 * tf.reduce_sum(each),
        "weights": 0.5 * tf.reduce_sum(model.layers[1].scale.value ** 2) if kind == "weights" else 0.0,
        "activity": 0.3 * tf.reduce_sum(hidden**2) / N,
    }[kind]  # fmt: skip
    crossentropy = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    return tf.reduce_mean(crossentropy) + added + 0.1 * tf.reduce_sum(model.layers[-1].kernel ** 2)


@pytest.mark.parametrize("shards, batch_size", [(3, 12), pytest.param(4, 16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["mean", "each", "features", "weights", "activity"])
def test_a_step_is_kerass_own(new_step, kind, shards, batch_size):
    task = examples.classifier(lambda: network(kind))
    loop, source = new_step(task, DATA, batch_size=batch_size, shards=shards, shuffle=False, xla=None)
    try_step(loop.train_step, source.source)
    with tf.GradientTape() as tape:
        expected = plain(task.model, kind)
    before = [v.numpy() for v in task.model.trainable_variables]
    weights = [v.value for v in task.model.trainable_variables]
    gradients = tape.gradient(expected, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    loop.train(source.open(0).take(1))
    total, count = loop.read().losses["loss"]
    assert total / count == pytest.approx(float(expected), rel=1e-5) and not loop.xla
    for old, gradient, v in zip(before, gradients, task.model.trainable_variables, strict=True):
        np.testing.assert_allclose(v.numpy(), old - 0.1 * gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [8, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["mean", "each", "features", "weights", "activity"])
def test_an_evaluation_is_kerass_own(new_step, kind, batch_size):
    task = examples.classifier(lambda: network(kind))
    new_step(task, DATA)
    found = Evaluator(
        tf.distribute.get_strategy(),
        task,
        NoAverage(),
        {"test": Arrays(DATA)},
        Layout(batch_size, 1, 1),
        CollectiveWait(1),
    ).evaluate("test")
    task.model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected = task.model.evaluate(DATA["x"], DATA["y"], batch_size=batch_size, verbose=0)
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["sum", "sum and weights", "norm", "by feature", "sum after dropout"])
def test_what_is_no_mean_over_the_batch_is_refused(new_step, kind):
    loop, source = new_step(examples.classifier(lambda: network(kind)), DATA)
    with pytest.raises(
        UsageError, match="'penalty' adds a loss that changes with the number of copies.*pass one number per example"
    ):
        try_step(loop.train_step, source.source)


def test_xla_that_was_asked_for_is_refused(new_step):
    loop, source = new_step(examples.classifier(lambda: network("mean")), DATA, xla=True)
    with pytest.raises(UsageError, match="Arithmetic.xla = True: the layer 'penalty' adds a loss"):
        try_step(loop.train_step, source.source)


@pytest.mark.parametrize("valid, kept", [([1, 0, 1], [0, 2]), ([1, 1, 1], [0, 1, 2]), ([0, 0, 0], [0, 1, 2])])
def test_rows_that_are_real_are_kept(valid, kept):
    batch = {"x": tf.range(3), "valid": tf.constant(valid, tf.float32)}
    assert without_padding(batch)["x"].numpy().tolist() == kept
