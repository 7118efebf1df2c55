"""Networks that come as a SavedModel: what they compute, and what is said where they cannot be used."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Splits
from trainer.data.sources.arrays import Arrays
from trainer.models.saved_model import saved_model
from trainer.pretrained import stored_features


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    return keras.Sequential([
        keras.Input((4, 3), dtype="uint8"), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(5),
    ])  # fmt: skip


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    found = str(tmp_path_factory.mktemp("saved") / "network")
    network.export(found, verbose=False)
    return found


def bytes_of(n):
    return np.random.default_rng(0).integers(0, 256, (n, 4, 3), np.uint8)


@pytest.mark.parametrize("endpoint", ["serve", "serving_default"])
def test_it_computes_what_was_saved(network, path, endpoint):
    loaded = saved_model(path, endpoint)
    np.testing.assert_allclose(loaded(bytes_of(7)), network(bytes_of(7)), rtol=1e-6)
    assert loaded.output_shape == (None, 5) and len(loaded.trainable_variables) == 2


def test_its_features_are_trained_on(network, path, tmp_path):
    source = Arrays({"x": bytes_of(20), "y": np.arange(20)})
    found = stored_features.stored(Splits(source), tmp_path, lambda: saved_model(path)).splits.train
    indices = tf.constant([3, 19], tf.int64)
    np.testing.assert_allclose(found.read(indices)["x"], network(bytes_of(20)[[3, 19]]), rtol=1e-5, atol=1e-6)


def test_it_can_be_trained_further(path):
    loaded = saved_model(path)
    before = [variable.numpy() for variable in loaded.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(loaded(bytes_of(7), training=True)))
    keras.optimizers.SGD(0.1).apply(tape.gradient(loss, loaded.trainable_variables), loaded.trainable_variables)
    assert all(np.abs(v.numpy() - old).max() > 0 for v, old in zip(loaded.trainable_variables, before, strict=True))
    assert tf.reduce_sum(tf.square(loaded(bytes_of(7)))) != loss  # the function uses the weights that were moved


def test_what_cannot_be_used_is_told(path, tmp_path):
    with pytest.raises(UsageError, match="no folder of a SavedModel"):
        saved_model(str(tmp_path))
    with pytest.raises(UsageError, match="'predict'.*Available endpoints.*serve"):
        saved_model(path, "predict")
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope(), pytest.raises(UsageError, match="cannot be part of a model on several replicas.*features"):
        saved_model(path)
