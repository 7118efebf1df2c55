"""Strips of images: each is what its number says, and training and test share no image."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data import splits
from trainer.data.source import Splits
from trainer.data.sources import strips
from trainer.data.sources.arrays import Arrays


def digits():
    images = np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 2), np.uint8)
    parts = [Arrays({"x": images[rows], "y": np.arange(20)[rows] % 10}) for rows in (slice(0, 12), slice(12, 20))]
    return Splits(parts[0], test=parts[1])


def read(source):
    return {name: value.numpy() for name, value in source.read(tf.range(len(source), dtype=tf.int64)).items()}


def test_a_strip_is_its_images_side_by_side():
    found = strips.splits(digits, images=4, train=50, test=9)
    for source, own in ((found.train, range(12)), (found.test, range(12, 20))):
        values = read(source)
        assert values["x"].shape == (len(source), 3, 8) and values["y"].shape == (len(source), 4)
        shown = values["x"][:, 0, ::2]
        np.testing.assert_array_equal(values["x"], np.repeat(shown, 2, axis=1)[:, None, :].repeat(3, axis=1))
        np.testing.assert_array_equal(values["y"], shown % 10)
        assert set(shown.ravel()) <= set(own)
    assert len(found.train) == 50 and len({tuple(row) for row in read(found.train)["y"]}) > 45
    np.testing.assert_array_equal(read(found.train)["x"], read(strips.splits(digits, 4, 50, 9).train)["x"])


def test_images_that_are_held_out_for_validation_are_strips_of_their_own():
    found = strips.splits(lambda: splits.hold_out(digits, 0.5), images=4, train=50, test=9)
    shown = [{*read(part)["x"].ravel()} for part in found[:3]]
    assert len(found.validation) == 9 and shown[0] | shown[1] <= {*range(12)} and not shown[0] & shown[1]


def test_refusals():
    with pytest.raises(UsageError, match="splits.images = 0: give a number of at least 1"):
        strips.splits(digits, images=0)
    with pytest.raises(UsageError, match="the data has no test split"):
        strips.splits(lambda: digits()._replace(test=None))
    flat = Arrays({"x": np.zeros((4, 6), np.uint8), "y": np.zeros(4, np.int64)})
    with pytest.raises(UsageError, match=r"have the shape \[6\]"):
        strips.splits(lambda: Splits(flat, test=flat))
    x, y = np.zeros((4, 3, 2), np.uint8), np.arange(4)
    for arrays, said in [
        ({"x": x, "label": y}, "this data has: label, x"),
        ({"x": x, "y": y + 0.5}, r"'y' is float64 \[\]: give the numbers of the classes"),
        ({"x": x, "y": np.eye(4, dtype=np.int64)}, r"'y' is int64 \[4\]"),
    ]:
        data = Arrays(arrays)
        with pytest.raises(UsageError, match=said):
            strips.splits(lambda data=data: Splits(data, test=data))
