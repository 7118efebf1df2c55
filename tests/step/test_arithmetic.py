"""The choices that decide a run's numbers: what is refused, what a process is set up with, where XLA pays."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.base.errors import UsageError
from trainer.models.cnn import CNN
from trainer.models.mlp import mlp
from trainer.step.arithmetic import Arithmetic, xla_pays


@pytest.mark.parametrize(
    "name, value",
    [
        *[("shards", 0), ("shards", -1), ("clip_norm", 0.0), ("clip_norm", -1.0), ("clip_norm", float("nan"))],
        *[("average_decay", 0.0), ("average_decay", 1.0), ("average_decay", 1.5), ("average_decay", float("nan"))],
    ],
)
def test_values_that_make_no_sense_are_refused(name, value):
    with pytest.raises(UsageError, match=f"Arithmetic.{name} = {value}: give"):
        Arithmetic(**{name: value})


def test_a_process_is_seeded_and_has_the_precision():
    drawn = []
    for seed in (1, 1, 2):
        Arithmetic(precision="mixed_bfloat16").prepare_process(seed)
        layer = layers.Dense(3)
        layer.build((None, 2))
        drawn.append(np.concatenate([layer.kernel.numpy().ravel(), np.random.rand(1), tf.random.uniform([1])]))
    assert layer.compute_dtype == "bfloat16" and layer.variable_dtype == "float32"
    Arithmetic().prepare_process(1)
    assert layers.Dense(3).compute_dtype == "float32"
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).sum() == len(drawn[0])


class Own(layers.Layer):
    """A layer that nobody has measured."""

    def call(self, x):
        return x


class Dense(layers.Layer):
    """Is called like one that XLA compiles well."""

    def call(self, x):
        return x


@pytest.mark.parametrize(
    "make, pays",
    [
        (mlp, True),
        (CNN, False),
        (lambda: keras.Sequential([keras.Sequential([layers.Dense(2)]), layers.LayerNormalization()]), True),
        (lambda: keras.Sequential([layers.Dense(2), keras.Sequential([layers.Conv1D(2, 3)])]), False),
        (lambda: keras.Sequential([layers.LSTM(2)]), False),
        (lambda: keras.Sequential([layers.Dense(2), Own()]), False),
        (lambda: keras.Sequential([Dense()]), False),
    ],
)
def test_xla_pays_for_dense_models(make, pays):
    assert xla_pays([make()]) is pays
    assert xla_pays([mlp(), make()]) is pays
