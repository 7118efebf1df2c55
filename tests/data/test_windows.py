"""Windows over a series: what was known, and what came after; nothing of the future leaks."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.sources import windows


def read(source):
    return {name: tensor.numpy() for name, tensor in source.read(tf.range(len(source), dtype=tf.int64)).items()}


def test_a_window_holds_the_past_and_its_target_lies_ahead_of_it():
    series = np.stack([np.arange(10.0), 100 + np.arange(10.0)], axis=1).astype(np.float32)
    found = read(windows.Windows(series, target=1, past=3, ahead=2))
    assert found["x"].shape == (6, 3, 2)
    assert found["x"][2, :, 0].tolist() == [2, 3, 4] and found["y"].tolist() == [104, 105, 106, 107, 108, 109]


def test_the_series_is_cut_in_time_and_no_window_reaches_over_a_cut():
    splits = windows.splits(lambda: np.arange(100.0), past=5, ahead=2, validation=0.2, test=0.3)
    mean, deviation = np.arange(50).mean(), np.arange(50).std()
    spans = []
    for source in (splits.train, splits.validation, splits.test):
        found = read(source)
        times = np.concatenate([found["x"].ravel(), found["y"]]) * deviation + mean
        spans.append((round(times.min()), round(times.max())))
    assert spans == [(0, 49), (50, 69), (70, 99)]


def test_what_comes_later_does_not_change_how_the_training_part_is_standardised():
    series = np.random.default_rng(0).normal(size=(80, 2))
    later = series.copy()
    later[60:] += 1000
    one, other = (read(windows.splits(lambda s=s: s, past=4, test=0.25).train) for s in (series, later))
    np.testing.assert_array_equal(one["x"], other["x"])


def test_a_feature_that_does_not_change_in_training_stays_small():
    series = np.stack([np.arange(40.0), np.full(40, 0.1)], axis=1)
    series[30:, 1] = 0.6
    found = windows.splits(lambda: series, past=3, test=0.25)
    np.testing.assert_allclose(read(found.train)["x"][:, :, 1], 0, atol=1e-9)
    np.testing.assert_allclose(read(found.test)["x"][:, :, 1], 0.5, atol=1e-6)


def test_the_naive_guess_is_told_in_the_units_of_the_targets():
    splits = windows.splits(lambda: np.arange(20.0), past=4, ahead=3, test=0.5)
    step = 3 / np.arange(10).std()
    assert splits.notes == (
        f"predicting the last value has an error of {step**2:.4g} (squared), {step:.4g} (absolute) on the test part",
    )


@pytest.mark.parametrize(("options", "said"), [
    ({"past": 0}, "splits.past = 0"), ({"past": 3, "ahead": 0}, "splits.ahead = 0"),
    ({"past": 3, "target": 1}, "splits.target = 1"), ({"past": 30}, "the test part of the series has 8 times"),
    ({"past": 3, "test": 1.0}, "splits.test = 1.0"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        windows.splits(lambda: np.arange(40.0), **options)


def test_gaps_are_named():
    series = np.zeros((40, 2))
    series[7, 1] = np.nan
    with pytest.raises(UsageError, match="no number at time 7, feature 1, and 1 gaps in all"):
        windows.splits(lambda: series, past=3)


def test_a_series_becomes_a_tensor_without_the_lock(converted):
    windows.Windows(np.arange(12.0).reshape(6, 2), target=0, past=2, ahead=1)
    assert [(array.dtype, array.shape) for array in converted.to_tensors] == [(np.float32, (6, 2))]
