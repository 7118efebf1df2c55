"""Models of sequences: what padding does to them."""

import keras
import numpy as np
import pytest

from trainer.models import recurrent

WORDS = np.array([[3, 1, 0, 0], [2, 2, 5, 4], [0, 0, 0, 0]], np.int32)


def test_the_mean_of_words_counts_no_padding_and_is_zero_without_words():
    vectors = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    found = recurrent.mean()[0](vectors, mask=WORDS > 0).numpy()
    np.testing.assert_allclose(found, [vectors[0, :2].mean(axis=0), vectors[1].mean(axis=0), [0, 0]], rtol=1e-5)
    np.testing.assert_allclose(recurrent.mean()[0](vectors).numpy(), vectors.mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("body", [
    recurrent.mean, lambda: recurrent.recurrent(keras.layers.SimpleRNN, 4), lambda: recurrent.recurrent(keras.layers.LSTM),
    lambda: recurrent.recurrent(keras.layers.GRU, 4, bidirectional=True),
])  # fmt: skip
def test_padding_changes_nothing_and_a_text_without_words_is_no_trouble(body):
    model = recurrent.words(vocabulary=6, width=3, body=body)
    found, longer = model(WORDS).numpy(), model(np.pad(WORDS, ((0, 0), (0, 3)))).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, longer, rtol=1e-5, atol=1e-6)
