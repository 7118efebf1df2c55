"""CSV tables: numbers, categories, gaps; what is learned is learned from the training rows; bad input names its line."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.sources import tables
from trainer.data.splits import share


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


def test_equal_numbers_are_one_class_and_classes_are_numbered_without_gaps(tmp_path):
    found = two(tmp_path, ["1,a,1", "1,a,2", "1,a,01", "1,a,1.0", "1,a,12"], ["1,a,12.0", "1,a,002"], age=tables.Number)
    assert read(found.train)["y"].tolist() == [0, 1, 0, 0, 2] and read(found.test)["y"].tolist() == [2, 1]
    words = two(tmp_path, ["1,a,1", "1,a,01", "1,a,inf"], ["1,a,1"], age=tables.Number)
    assert read(words.train)["y"].tolist() == [1, 0, 2]  # one of them is a word, so all are
    with pytest.raises(UsageError, match="test.csv, line 2, column 'y': '3' is the class of no training row"):
        two(tmp_path, ["1,a,1", "1,a,2"], ["1,a,3"], age=tables.Number)


def test_a_column_whose_values_are_all_the_same_is_0_and_its_other_values_stay_small(tmp_path):
    found = two(tmp_path, ["0.1,a,0", "0.1,a,1", "0.1,a,1"], ["0.1,a,0", "0.6,a,0"], age=tables.Number)
    np.testing.assert_allclose(read(found.train)["x"], np.zeros((3, 1)), atol=1e-9)
    np.testing.assert_allclose(read(found.test)["x"], [[0], [0.5]], atol=1e-6)


def test_what_float32_cannot_hold_is_refused_in_every_kind_of_number(tmp_path):
    for value in ("1e39", "-1e39", "NAN", "Infinity"):
        file = write(tmp_path / "t.csv", "a,y", "1,1", f"1,{value}")
        for column in (tables.Amount, as_it_is):
            with pytest.raises(UsageError, match=f"t.csv, line 3, column 'y': '{value}' is"):
                tables.splits(file, {"y": {"y": column}}, test_path=file)
    with pytest.raises(UsageError, match="test.csv, line 2, column 'age': '1e30' is too far from the mean"):
        two(tmp_path, ["1e-15,a,0", "2e-15,a,1"], ["1e30,a,0"], age=tables.Number)


def test_a_validation_split_teaches_nothing(tmp_path):
    file = write(tmp_path / "t.csv", "n,y", "1,0", "3,1", "100,0", "200,1")
    parts = [np.array([0, 1]), np.array([2]), np.array([3])]
    found = tables.splits(file, {"x": {"n": tables.Number}, "y": {"y": tables.Class}}, cut=lambda n: parts)
    assert [read(part)["x"].ravel().tolist() for part in found[:3]] == [[-1, 1], [98], [198]]


def test_what_says_that_a_value_is_missing_can_be_chosen(tmp_path):
    file = write(tmp_path / "t.csv", "c,n", "NA,1", ",-999", "None,3", "NA,1")
    fields = {"x": {"c": tables.Category}, "n": {"n": as_it_is}}
    usual, chosen = (
        read(tables.splits(file, fields, test_path=file, **options).train)
        for options in ({}, {"missing": ["", "-999"]})
    )
    assert usual["x"].shape == (4, 1) and usual["n"].shape == (4, 1)
    assert chosen["x"].argmax(axis=1).tolist() == [1, 0, 2, 1] and chosen["n"][:, 1].tolist() == [0, 1, 0, 0]


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
    (["1,a,0", "1_0,a,0"], r"line 3, column 'age': '1_0' is no number"),
    (["1,a,0", "0x10,a,0"], r"line 3, column 'age': '0x10' is no number"),
    (["1,a,0", "\uff11\uff10,a,0"], r"line 3, column 'age': '\uff11\uff10' is no number"),
    (["1,a,0", "1e400,a,0"], r"line 3, column 'age': '1e400' is too large for float32"),
    (['1,"a,0', "1,a,1"], r"line 2: unexpected end of data"),
    ([], "holds no row"),
    (["1,a,0", "NAN,a,0"], r"line 3, column 'age': 'NAN' is no number: correct it, or name it in splits.missing"),
    (["1,a,0", "1e300,a,0"], r"line 3, column 'age': '1e300' is too large for float32"),
    ([",a,0", "NA,a,0"], r"line 2, column 'age': no training row has a value"),
])  # fmt: skip
def test_bad_rows_are_named_by_file_and_line(tmp_path, lines, said):
    with pytest.raises(UsageError, match=r"train.csv.*" + said):
        two(tmp_path, lines, ["1,a,0"], age=tables.Number)


def test_names_of_columns_may_have_spaces_around_them(tmp_path):
    file = write(tmp_path / "a.csv", " a, b ", "1, 2", "3, 4")
    found = tables.splits(file, {"x": {"a": tables.Amount, "b": tables.Amount}}, test_path=file)
    assert read(found.train)["x"].tolist() == [[1, 2], [3, 4]]


def test_beside_a_file_of_test_rows_a_cut_is_for_validation(tmp_path):
    first = write(tmp_path / "train.csv", "n", "1", "3", "100")
    second = write(tmp_path / "test.csv", "n", "200")
    fields = {"x": {"n": tables.Number}}
    found = tables.splits(first, fields, lambda n: [np.array([0, 1]), np.array([2])], second)
    assert [read(part)["x"].ravel().tolist() for part in found[:3]] == [[-1, 1], [98], [198]]
    with pytest.raises(UsageError, match=r"cut returned 3 parts of .*train.csv: .* the rows of train, validation$"):
        tables.splits(first, fields, lambda n: np.split(np.arange(n), n), second)


def test_columns_have_commas(tmp_path):
    file, fields = write(tmp_path / "a.csv", "a;b", "1;2", "3;4"), {"x": {"a": tables.Amount}}
    with pytest.raises(UsageError, match="no column 'a'; it has: a;b; columns are separated by commas"):
        tables.splits(file, fields)


def test_bad_files_and_columns_are_refused(tmp_path):
    file = write(tmp_path / "t.csv", "a,b", "1,2", "3,4")
    with pytest.raises(UsageError, match="no such file"):
        tables.splits(str(tmp_path / "nowhere.csv"), {"y": {"a": tables.Class}, "x": {"b": tables.Number}})
    with pytest.raises(UsageError, match="has no column 'c'; it has: a, b"):
        tables.splits(file, {"y": {"a": tables.Class}, "x": {"c": tables.Number}})
    with pytest.raises(UsageError, match="share.test = 0.1"):
        tables.splits(file, {"y": {"a": tables.Class}, "x": {"b": tables.Number}}, cut=lambda n: share(n, 0.1))
    with pytest.raises(UsageError, match="splits.fields: the field 'x' has no columns"):
        tables.splits(file, {"y": {"a": tables.Class}, "x": {}})
    with pytest.raises(
        UsageError, match="cut returned 1 parts of .*t.csv: .* rows of train, test; or of train, validation, test$"
    ):
        tables.splits(file, {"y": {"a": tables.Class}}, cut=lambda n: (np.arange(n),))
    (tmp_path / "latin.csv").write_bytes("a,b\n1,é\n".encode("latin-1"))
    with pytest.raises(UsageError, match="no UTF-8 text: .* at byte 6"):
        tables.splits(str(tmp_path / "latin.csv"), {"y": {"a": tables.Class}, "x": {"b": tables.Category}})


@pytest.mark.parametrize(
    "values, classes",
    [
        (["1", "01", "1.0", "2"], [0, 0, 0, 1]),
        (["1_0", "10", "1_1", "11"], [2, 0, 3, 1]),
        (["10", "1e1", "2", "3"], [0, 1, 2, 3]),
        (["\uff11", "1", "2", "3"], [3, 0, 1, 2]),
        (["nan", "inf", "1", "2"], [3, 2, 0, 1]),
    ],
)
def test_a_class_that_is_no_number_stays_itself(tmp_path, values, classes):
    file = write(tmp_path / "t.csv", "a,y", *(f"1,{value}" for value in values))
    fields = {"x": {"a": as_it_is}, "y": {"y": tables.Class}}
    found = tables.splits(file, fields, test_path=file, missing=[""])
    assert read(found.train)["y"].tolist() == classes
