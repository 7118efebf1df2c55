"""Holding out a part of the training data for validation."""

import numpy as np
import pytest

from trainer.data.source import Splits
from trainer.data.sources.arrays import Arrays
from trainer.data.splits import hold_out
from trainer.errors import UsageError


def data(examples=100):
    return lambda: Splits(Arrays({"x": 10 * np.arange(examples)}), test=Arrays({"x": np.zeros(3)}))


def everything(source):
    return source.read(np.arange(len(source)))["x"].numpy().tolist()


def test_every_example_is_on_one_side():
    train, validation, test = hold_out(data(), 0.2)
    assert len(validation) == 20 and len(test) == 3
    assert sorted(everything(train) + everything(validation)) == [10 * i for i in range(100)]
    assert everything(validation) != [10 * i for i in range(20)]  # a random part
    assert train.fields == validation.fields == data()().train.fields


def test_the_part_is_the_seeds():
    parts = [everything(hold_out(data(), 0.2, seed).validation) for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, 0.001, 0.999])
def test_a_share_that_leaves_a_side_empty_is_refused(share):
    with pytest.raises(UsageError, match=f"hold_out.validation = {share}"):
        hold_out(data(), share)


def test_a_second_validation_split_is_refused():
    with pytest.raises(UsageError, match="validation split already"):
        hold_out(lambda: hold_out(data(), 0.2), 0.2)
