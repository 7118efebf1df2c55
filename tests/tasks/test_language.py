"""A model of characters: what its loss is, and what it writes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.data.sources import text
from trainer.tasks.language import Language
from trainer.tasks.protocol import Showing

SAID = "abcabcabd" * 20


def network(characters=5):
    return keras.Sequential([keras.layers.Embedding(characters, 8), keras.layers.Dense(characters)])


def built(**options):
    splits = text.characters(lambda: SAID, alphabet="abcd", length=8)
    task = Language(options.pop("model", network), lambda: keras.optimizers.Adam(0.1), **options)
    return task, task.build(splits.train.fields), splits


def batch(source, n=4):
    ids = tf.range(n, dtype=tf.int64)
    return {**source.read(ids), "valid": tf.constant([1.0, 1.0, 1.0, 0.0][:n]), "id": ids}


def test_the_loss_is_in_nats_a_character_and_padding_does_not_count():
    task, parts, splits = built()
    data = batch(splits.train)
    losses, outputs = task.losses(data, tf.constant([0, 0]))
    logits = parts.models["model"](data["x"])
    expected = keras.losses.sparse_categorical_crossentropy(data["y"], logits, from_logits=True).numpy()
    np.testing.assert_allclose(outputs["nats"], expected, rtol=1e-5)
    np.testing.assert_allclose(losses["loss"].values, expected.sum(axis=1) * [1, 1, 1, 0], rtol=1e-5)
    np.testing.assert_array_equal(losses["loss"].counts, [8, 8, 8, 0])
    evaluated = task.evaluate(data, task.outputs(data))["loss"]
    np.testing.assert_allclose(evaluated.values, losses["loss"].values, rtol=1e-5)


def test_a_cold_model_writes_what_is_likely_and_a_hot_one_anything():
    task, parts, splits = built(temperatures=(0.05, 20.0), written=300)
    model = parts.models["model"]
    # A bigram: after a comes b, then c, then a again.
    follow = np.full((5, 5), -3.0, np.float32)
    follow[[1, 2, 3, 4, 0], [2, 3, 1, 1, 1]] = 3.0
    model.layers[0].embeddings.assign(np.eye(5, 8, dtype=np.float32))
    model.layers[1].set_weights([np.vstack([follow, np.zeros((3, 5), np.float32)]), np.zeros(5, np.float32)])
    assert isinstance(task, Showing)
    shown = tf.function(task.samples)(batch(splits.test, 1), tf.constant([0, 0]))
    cold, hot = (shown[f"text/temperature_{t}"].numpy()[0].decode() for t in ("0.05", "20"))
    assert cold in "abc" * 120 and len(cold) == len(hot) == 300
    assert {"a", "b", "c", "d", "\N{REPLACEMENT CHARACTER}"} == set(hot)
    again = task.samples(batch(splits.test, 1), tf.constant([0, 0]))
    assert again["text/temperature_20"].numpy()[0].decode() == hot
    assert task.samples(batch(splits.test, 1), tf.constant([1, 0]))["text/temperature_20"].numpy()[0].decode() != hot


def test_a_temperature_may_be_a_whole_number():
    task, _, splits = built(temperatures=(1, 2), written=3)
    assert {"text/temperature_1", "text/temperature_2"} == set(task.samples(batch(splits.test, 1), tf.constant([0, 0])))


def test_refusals():
    with pytest.raises(UsageError, match="Language.temperatures = .*: give numbers above 0"):
        built(temperatures=(0.5, 0.0))
    with pytest.raises(UsageError, match="Language.written = 0"):
        built(written=0)
    with pytest.raises(UsageError, match=r"the model puts out \[8, 7\] for 8 characters of 5 kinds"):
        built(model=lambda: network(7))
    with pytest.raises(UsageError, match="'x', a text with a vocabulary"):
        Language(network, keras.optimizers.Adam).build({"x": Field((8,), "int32")})
