"""Cutting data in two: a validation split, and folds."""

import numpy as np
import pytest

from trainer.base.errors import UsageError
from trainer.data.labels import categorical
from trainer.data.source import Splits
from trainer.data.sources import strips, tables, text, windows
from trainer.data.sources.arrays import Arrays
from trainer.data.splits import fold, hold_out, share


def data(examples=100):
    return lambda: Splits(Arrays({"x": 10 * np.arange(examples)}), test=Arrays({"x": np.zeros(3)}))


def everything(source):
    return source.read(np.arange(len(source)))["x"].numpy().tolist()


def test_every_example_is_on_one_side():
    train, validation, test = hold_out(data(), 0.2)[:3]
    assert len(validation) == 20 and len(test) == 3
    assert sorted(everything(train) + everything(validation)) == [10 * i for i in range(100)]
    assert everything(validation) != [10 * i for i in range(20)]  # a random part
    assert train.fields == validation.fields == data()().train.fields


def test_the_part_is_the_seeds():
    parts = [everything(hold_out(data(), 0.2, seed).validation) for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


@pytest.mark.parametrize("part", [0.0, 1.0, -0.1, 1.5, 0.001, 0.999])
def test_a_share_that_leaves_a_side_empty_is_refused(part):
    with pytest.raises(UsageError, match=f"hold_out.validation = {part}"):
        hold_out(data(), part)


def test_a_second_validation_split_is_refused():
    with pytest.raises(UsageError, match="validation split already"):
        hold_out(lambda: hold_out(data(), 0.2), 0.2)


def table(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("a,y\n" + "1,0\n2,1\n" * 9)
    return tables.splits(str(file), {"x": {"a": tables.Number}, "y": {"y": tables.Class}})


def texts(tmp_path):
    return text.labelled(lambda: {"train": (["one", "two"], [0, 1])}, lambda: text.Words(size=5, length=4))


def series(tmp_path):
    return windows.splits(lambda: np.arange(100.0), past=5)


def joined(tmp_path):
    images = Arrays({"x": np.zeros((9, 3, 2), np.uint8), "y": np.zeros(9, np.int64)})
    return strips.splits(lambda: Splits(images, test=images))


@pytest.mark.parametrize(("source", "remedy"), [
    (table, "tables.splits.cut"), (texts, "text.table.cut"), (series, "windows.splits.validation"),
    (joined, "strips.splits.data = @splits.hold_out"),
])  # fmt: skip
def test_what_the_training_examples_know_already_is_not_held_out(tmp_path, source, remedy):
    with pytest.raises(UsageError, match=f"hold_out comes too late for this data: .*{remedy}"):
        hold_out(lambda: source(tmp_path), 0.5)


def test_what_is_done_to_such_data_does_not_hide_it(tmp_path):
    with pytest.raises(UsageError, match="hold_out comes too late"):
        hold_out(lambda: categorical(lambda: table(tmp_path), classes=2), 0.5)


def test_shares_cut_all_examples_once_and_the_test_split_stays_what_it_is():
    two, three = share(50, test=0.2), share(50, test=0.2, validation=0.1)
    assert [len(cut) for cut in two] == [40, 10] and [len(cut) for cut in three] == [35, 5, 10]
    assert two[1].tolist() == three[2].tolist()
    for cuts in (two, three):
        assert sorted(np.concatenate(cuts).tolist()) == list(range(50))
        assert all((np.diff(cut) > 0).all() for cut in cuts)


@pytest.mark.parametrize(
    "shares", [{"test": 0.0}, {"test": 0.5, "validation": 0.5}, {"validation": -0.1}, {"validation": 0.001}]
)
def test_shares_that_leave_a_split_empty_are_refused(shares):
    with pytest.raises(UsageError, match="share.*choose (other|another) share"):
        share(50, **shares)


def test_over_all_folds_each_example_is_held_out_once_and_repetitions_are_mixed_anew():
    cuts = [fold(23, number, folds=5) for number in range(10)]
    for first in (0, 5):
        held = np.concatenate([held for _, held in cuts[first : first + 5]])
        assert sorted(held.tolist()) == list(range(23))
    assert all(sorted([*kept, *held]) == list(range(23)) for kept, held in cuts)
    assert cuts[0][1].tolist() != cuts[5][1].tolist()
    assert fold(23, 3)[1].tolist() == fold(23, 3)[1].tolist() != fold(23, 3, seed=1)[1].tolist()


@pytest.mark.parametrize(
    ("number", "folds", "said"), [(0, 1, "fold.folds = 1"), (0, 24, "fold.folds"), (-1, 5, "fold.number = -1")]
)
def test_folds_that_make_no_sense_are_refused(number, folds, said):
    with pytest.raises(UsageError, match=said):
        fold(23, number, folds)
