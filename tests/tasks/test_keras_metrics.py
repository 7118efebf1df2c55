"""Every metric of Keras, evaluated in padded batches: the value that Keras gives of the examples alone; or refused."""

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.step.metric_direction import better
from trainer.step.padding import without_padding
from trainer.tasks import targets

N = 30
RANDOM = np.random.default_rng(0)
SHARES = RANDOM.dirichlet(np.ones(3), N).astype(np.float32)
LABELS = RANDOM.integers(0, 3, N)
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
PROBABILITY, BINARY = RANDOM.uniform(size=(N, 1)).astype(np.float32), RANDOM.integers(0, 2, (N, 1))
NUMBERS, NEAR = (RANDOM.uniform(0.1, 2, (N, 3)).astype(np.float32) for _ in range(2))
PIXELS, SEGMENTS = RANDOM.integers(0, 3, (N, 2, 2)), RANDOM.integers(0, 3, (N, 2, 2))
SHARES_OF_PIXELS = np.eye(3, dtype=np.float32)[PIXELS] + 0.1

# Class -> (target, output, arguments).
OF_TWO = {
    "AUC": (BINARY, PROBABILITY, {}),
    "Accuracy": (LABELS, SHARES.argmax(axis=1), {}),
    "BinaryAccuracy": (BINARY, PROBABILITY, {}),
    "BinaryCrossentropy": (BINARY, PROBABILITY, {}),
    "BinaryIoU": (BINARY, PROBABILITY, {}),
    "CategoricalAccuracy": (ONE_HOT, SHARES, {}),
    "CategoricalCrossentropy": (ONE_HOT, SHARES, {}),
    "CategoricalHinge": (ONE_HOT, SHARES, {}),
    "ConcordanceCorrelation": (NUMBERS, NEAR, {}),
    "CosineSimilarity": (NUMBERS, NEAR, {}),
    "F1Score": (ONE_HOT, SHARES, {"average": "macro"}),
    "FBetaScore": (ONE_HOT, SHARES, {"average": "micro", "beta": 2.0}),
    "FalseNegatives": (BINARY, PROBABILITY, {}),
    "FalsePositives": (BINARY, PROBABILITY, {}),
    "Hinge": (ONE_HOT, SHARES, {}),
    "IoU": (SEGMENTS, PIXELS, {"num_classes": 3, "target_class_ids": [0, 2]}),
    "KLDivergence": (ONE_HOT, SHARES, {}),
    "LogCoshError": (NUMBERS, NEAR, {}),
    "MeanAbsoluteError": (NUMBERS, NEAR, {}),
    "MeanAbsolutePercentageError": (NUMBERS, NEAR, {}),
    "MeanIoU": (SEGMENTS, PIXELS, {"num_classes": 3, "ignore_class": 1}),
    "MeanSquaredError": (NUMBERS, NEAR, {}),
    "MeanSquaredLogarithmicError": (NUMBERS, NEAR, {}),
    "OneHotIoU": (np.eye(3)[SEGMENTS], SHARES_OF_PIXELS, {"num_classes": 3, "target_class_ids": [1]}),
    "OneHotMeanIoU": (np.eye(3)[SEGMENTS], SHARES_OF_PIXELS, {"num_classes": 3}),
    "PearsonCorrelation": (NUMBERS, NEAR, {}),
    "Poisson": (NUMBERS, NEAR, {}),
    "Precision": (BINARY, PROBABILITY, {}),
    "PrecisionAtRecall": (BINARY, PROBABILITY, {"recall": 0.5}),
    "R2Score": (NUMBERS, NEAR, {}),  # num_regressors is refused, see tests/step/test_own_metrics.py
    "Recall": (BINARY, PROBABILITY, {}),
    "RecallAtPrecision": (BINARY, PROBABILITY, {"precision": 0.4}),
    "RootMeanSquaredError": (NUMBERS, NEAR, {}),
    "SensitivityAtSpecificity": (BINARY, PROBABILITY, {"specificity": 0.5}),
    "SparseCategoricalAccuracy": (LABELS, SHARES, {}),
    "SparseCategoricalCrossentropy": (LABELS, SHARES, {}),
    "SparseTopKCategoricalAccuracy": (LABELS, SHARES, {"k": 2}),
    "SpecificityAtSensitivity": (BINARY, PROBABILITY, {"sensitivity": 0.5}),
    "SquaredHinge": (ONE_HOT, SHARES, {}),
    "TopKCategoricalAccuracy": (ONE_HOT, SHARES, {"k": 2}),
    "TrueNegatives": (BINARY, PROBABILITY, {}),
    "TruePositives": (BINARY, PROBABILITY, {}),
}
# These take one value and not a target with an output; tasks of one's own use them. The last are bases of others.
OF_ONE = {"Mean", "Sum", "MeanMetricWrapper", "Metric"}


@pytest.mark.parametrize("name", examples.classes(keras.metrics))
def test_every_metric_has_its_place_in_the_table(name):
    assert (name in OF_TWO) != (name in OF_ONE), f"a new metric: say in this file what is right of keras.metrics.{name}"


@pytest.mark.parametrize("size", [8, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", OF_TWO)
def test_a_metric_is_kerass_own(name, size):
    """However many examples a batch has, and however many of the last one are padding."""
    target, output, arguments = OF_TWO[name]
    whole, parts = (getattr(keras.metrics, name)(**arguments) for _ in range(2))
    whole.update_state(target, output)
    for first in range(0, N, size):
        ids = np.arange(first, first + size)
        valid = tf.constant(ids < N, tf.float32)
        batch = {"y": tf.gather(target, ids % N), "x": tf.gather(output, ids % N), "valid": valid}
        real = without_padding(batch)
        targets.update(parts, real["y"], real["x"], real["valid"])
    np.testing.assert_allclose(parts.result(), whole.result(), rtol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5, 1), (5, 3, 2, 1), (10, 3)], ids=["tokens", "images", "labels"])
@pytest.mark.parametrize("name", [name for name, (target, *_) in OF_TWO.items() if target is BINARY])
def test_a_metric_of_numbers_between_0_and_1_takes_any_shape(name, shape):
    whole, parts = (getattr(keras.metrics, name)(**OF_TWO[name][2]) for _ in range(2))
    target, output = np.resize(BINARY, shape), np.resize(PROBABILITY, shape)
    whole.update_state(target, output)
    targets.update(parts, tf.constant(target), tf.constant(output), tf.ones(shape[0]))
    np.testing.assert_allclose(parts.result(), whole.result(), rtol=1e-5)


def test_of_a_class_made_from_kerass_it_is_not_known():
    class ErrorRate(keras.metrics.BinaryAccuracy):
        def result(self):
            return 1 - super().result()

    assert better(keras.metrics.BinaryAccuracy()) == "max" and better(ErrorRate()) is None


@pytest.mark.parametrize("name", OF_TWO)
def test_whether_more_is_better_is_known_of_every_metric(name):
    """What is nearer to the target must be better."""
    target, output, arguments = OF_TWO[name]
    perfect = target if np.shape(target) == np.shape(output) else ONE_HOT
    far, near = (getattr(keras.metrics, name)(**arguments) for _ in range(2))
    targets.update(far, tf.constant(target), tf.constant(output), tf.ones(N))
    targets.update(near, tf.constant(target), tf.constant(perfect, output.dtype), tf.ones(N))
    gained = float(near.result()) - float(far.result())
    direction = better(near)
    assert direction == ("max" if gained > 0 else "min") or gained == 0, gained


@pytest.mark.parametrize("make", [keras.metrics.Mean, keras.metrics.Sum])
def test_of_a_mean_of_anything_it_is_not_known(make):
    assert better(make()) is None
