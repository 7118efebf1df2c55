"""Labels as vectors, of any source."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data import labels, splits
from trainer.data.source import Splits
from trainer.data.sources.arrays import Arrays


def data(y=(0, 2, 1, 2)):
    source = Arrays({"x": np.zeros((len(y), 3), np.float32), "y": np.array(y)})
    return lambda: Splits(source, test=source, notes=("a note",))


def test_they_are_those_of_keras():
    found = labels.categorical(data(), classes=4)
    assert found.train.fields["y"][:2] == ((4,), "float32") and len(found.train) == 4 and found.notes == ("a note",)
    indices = tf.constant([3, 0, 2], tf.int64)
    for source in (found.train, found.test):
        np.testing.assert_array_equal(source.read(indices)["y"], keras.utils.to_categorical([2, 0, 1], 4))
        assert source.read(indices)["x"].shape == (3, 3)


def test_they_go_with_what_else_is_done_to_data():
    found = splits.hold_out(lambda: labels.categorical(data(), classes=3), validation=0.25)
    assert found.validation.fields["y"].shape == (3,)


@pytest.mark.parametrize(
    ("y", "options", "says"),
    [
        ((0, 1), {"field": "z"}, "categorical.field = 'z'.*x, y"),
        ((0, 3), {}, r"categorical.classes = 3: the labels 'y' run from 0 to 3"),
        ((-1, 1), {}, "run from -1 to 1"),
        ((0.5, 1.0), {}, "no whole numbers"),
    ],
)
def test_what_is_no_label_is_refused(y, options, says):
    with pytest.raises(UsageError, match=says):
        labels.categorical(data(y), classes=3, **options)
