"""CSV tables: numbers, categories, gaps; what is learned is learned from the training rows; bad input names its line."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.data.sources import tables
from trainer.data.splits import share
from trainer.errors import UsageError


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def read(source):
    return {name: tensor.numpy() for name, tensor in source.read(tf.range(len(source), dtype=tf.int64)).items()}


def two(tmp_path, train, test, **columns):
    """The splits of two files with these lines."""
    head = "age,sex,y"
    fields = {"x": columns, "y": {"y": tables.Class}}
    test_path = write(tmp_path / "test.csv", head, *test)
    return tables.splits(write(tmp_path / "train.csv", head, *train), fields, test_path=test_path)


def as_it_is():
    return tables.Number(standardise=False)


def test_numbers_are_standardised_by_the_training_rows_and_gaps_filled_and_marked(tmp_path):
    splits = two(tmp_path, ["1,a,0", "3,a,1", ",a,1"], ["5,b,0", "NA,b,1"], age=tables.Number)
    np.testing.assert_allclose(read(splits.train)["x"], [[-1, 0], [1, 0], [0, 1]])
    np.testing.assert_allclose(read(splits.test)["x"], [[3, 0], [0, 1]])
    assert read(splits.test)["y"].tolist() == [0, 1] and splits.train.fields["y"].dtype == "int64"


def test_categories_are_those_of_the_training_rows_and_a_gap_is_one_of_them(tmp_path):
    splits = two(tmp_path, ["1,b,0", "1,a,1", "1,,1"], ["1,,0"], sex=tables.Category)
    assert read(splits.train)["x"].tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert read(splits.test)["x"].tolist() == [[1, 0, 0]]


def test_an_unknown_category_is_named_with_its_line_or_ignored(tmp_path):
    with pytest.raises(
        UsageError, match=r"test.csv, line 3, column 'sex': 'c' is in no training row.*Category.unknown"
    ):
        two(tmp_path, ["1,a,0", "1,b,1"], ["1,a,0", "1,c,1"], sex=tables.Category)
    splits = two(tmp_path, ["1,a,0", "1,b,1"], ["1,c,1"], sex=lambda: tables.Category(unknown="ignore"))
    assert read(splits.test)["x"].tolist() == [[0, 0]]


def test_very_many_values_are_hashed_alike_in_both_splits(tmp_path):
    splits = two(tmp_path, ["1,a,0", "1,b,1"], ["1,a,1", "1,never seen,0"], sex=lambda: tables.Hashed(16))
    train, test = read(splits.train)["x"], read(splits.test)["x"]
    assert train.shape == (2, 16) and (test.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(train[0], test[0])


def test_columns_come_in_the_order_that_was_asked_for_and_the_held_out_rows_are_others(tmp_path):
    file = write(tmp_path / "t.csv", "n,y,name", *(f'{i},{i / 2},"Smith, {i}"' for i in range(100)))
    fields = {"x": {"n": as_it_is}, "y": {"y": tables.Amount}}
    splits = tables.splits(file, fields, cut=lambda n: share(n, 0.25))
    assert (len(splits.train), len(splits.test)) == (75, 25)
    train, test = read(splits.train), read(splits.test)
    assert sorted([*train["x"][:, 0], *test["x"][:, 0]]) == list(range(100))
    np.testing.assert_allclose(train["y"], train["x"][:, 0] / 2)
    assert train["y"].dtype == np.float32
    again = tables.splits(file, fields, cut=lambda n: share(n, 0.25, seed=1))
    assert read(again.test)["x"].tolist() != test["x"].tolist()


@pytest.mark.parametrize(("values", "numbers"), [(("yes", "no"), (1, 0)), (("10", "9"), (1, 0)), (("0", "1"), (0, 1))])
def test_classes_are_numbered_in_their_order(tmp_path, values, numbers):
    file = write(tmp_path / "t.csv", "n,y", *(f"0,{values[0]}", f"1,{values[1]}") * 10)
    found = read(tables.splits(file, {"x": {"n": as_it_is}, "y": {"y": tables.Class}}).train)
    assert {(int(x), int(y)) for x, y in zip(found["x"][:, 0], found["y"], strict=True)} == {*enumerate(numbers)}


def test_several_columns_stand_side_by_side_and_fields_apart(tmp_path):
    file = write(tmp_path / "t.csv", "a,b,c", *("1,u,7", "2,v,8") * 10)
    fields = {"numbers": {"c": as_it_is, "a": as_it_is}, "kind": {"b": tables.Category}}
    found = read(tables.splits(file, fields).train)
    assert {tuple(row) for row in found["numbers"]} == {(7, 1), (8, 2)}
    np.testing.assert_array_equal(found["kind"].argmax(axis=1), found["numbers"][:, 1] - 1)


@pytest.mark.parametrize(("lines", "said"), [
    (["1,a,0", "1,a"], r"line 3: 2 values, but the first line has 3 names"),
    (["1,a,0", "1,a,0,9"], r"line 3: 4 values, but"),
    (["1,a,0", "old,a,0"], r"line 3, column 'age': 'old' is no number"),
    (["1,a,0", "1,a,"], r"line 3, column 'y': what is to be predicted is missing"),
    (["1,a,0", "inf,a,0"], r"line 3, column 'age': 'inf' is no number"),
    (['1,"a,0', "1,a,1"], r"line 3: unexpected end of data"),
    ([], "holds no row"),
])  # fmt: skip
def test_bad_rows_are_named_by_file_and_line(tmp_path, lines, said):
    with pytest.raises(UsageError, match=r"train.csv.*" + said):
        two(tmp_path, lines, ["1,a,0"], age=tables.Number)


def test_bad_files_and_columns_are_refused(tmp_path):
    file = write(tmp_path / "t.csv", "a,b", "1,2", "3,4")
    with pytest.raises(UsageError, match="no such file"):
        tables.splits(str(tmp_path / "nowhere.csv"), {"y": {"a": tables.Class}, "x": {"b": tables.Number}})
    with pytest.raises(UsageError, match="has no column 'c'; it has: a, b"):
        tables.splits(file, {"y": {"a": tables.Class}, "x": {"c": tables.Number}})
    with pytest.raises(UsageError, match="share.test = 0.1 leaves no example"):
        tables.splits(file, {"y": {"a": tables.Class}, "x": {"b": tables.Number}}, cut=lambda n: share(n, 0.1))
    (tmp_path / "latin.csv").write_bytes("a,b\n1,é\n".encode("latin-1"))
    with pytest.raises(UsageError, match="no UTF-8 text: .* at byte 6"):
        tables.splits(str(tmp_path / "latin.csv"), {"y": {"a": tables.Class}, "x": {"b": tables.Category}})
