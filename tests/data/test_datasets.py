"""Data sets by name: Keras's own, from its folder, and the digits that come with a package."""

import textwrap

import numpy as np
import pytest

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.data.sources import keras_datasets, samples


def test_digits_come_with_a_package(splits, digits):
    assert (len(splits.train), splits.validation, len(splits.test)) == (4000, None, 1000)
    assert splits.train.fields["x"] == Field((28, 28), "uint8", 0, 255)
    assert splits.train.fields["y"][2:4] == (0, 9)
    x, y = digits
    assert x.max() == 255
    # As many of each as there are, none twice, and the classes mixed.
    assert np.bincount(y).tolist() == [500] * 10
    assert len(np.unique(x.reshape(5000, -1), axis=0)) == 5000
    assert (np.bincount(y[4000:]) > 70).all()


@pytest.mark.parametrize("test", [0, 5000, -1])
def test_digits_leave_no_side_empty(test):
    with pytest.raises(UsageError, match=f"mnist_digits.test = {test}"):
        samples.mnist_digits(test)


def test_a_name_that_is_none_is_answered_with_those_there_are():
    with pytest.raises(UsageError, match=r"no 'imdb'.*cifar10, cifar100, fashion_mnist, mnist"):
        keras_datasets.load("imdb")


@pytest.mark.process
def test_keras_folder(run_program, tmp_path, digits):
    """Keras reads KERAS_HOME when it is imported, hence the process; nothing answers where it would download from."""
    program = textwrap.dedent("""
        import os
        from trainer.data.sources import keras_datasets
        from trainer.base.errors import UsageError

        try:
            keras_datasets.load("mnist")
        except UsageError as error:
            print(error.message)
        os.rename("FILE", os.environ["KERAS_HOME"] + "/datasets/mnist.npz")
        train, _, test = keras_datasets.load("mnist")[:3]
        print(len(train), len(test), train.fields["x"].shape, train.fields["x"].dtype)
    """).replace("FILE", str(tmp_path / "digits.npz"))
    x, y = digits
    np.savez(tmp_path / "digits.npz", x_train=x[1000:], y_train=y[1000:], x_test=x[:1000], y_test=y[:1000])
    off = {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path)}
    message, loaded = run_program("-c", program, **off).splitlines()[-2:]
    for part in (f"not in {tmp_path}/datasets", "could not be downloaded", "mnist.load_data()", "mnist_small.gin"):
        assert part in message
    assert loaded == "4000 1000 (28, 28) uint8"


def test_labels_in_a_column_become_plain(tmp_path, monkeypatch):
    """As in cifar10's own files."""
    (tmp_path / "datasets").mkdir()
    x, y = np.zeros((6, 32, 32, 3), np.uint8), np.arange(6)[:, None]
    np.savez(tmp_path / "datasets/cifar10.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    train, _, test = keras_datasets.load("cifar10")[:3]
    assert (len(train), len(test)) == (6, 2)
    assert train.fields["y"] == Field((), "int64", 0, 5)


def test_a_file_in_keras_folder_that_lacks_an_array_is_named(tmp_path, monkeypatch):
    (tmp_path / "datasets").mkdir()
    np.savez(tmp_path / "datasets/mnist.npz", x_train=np.zeros((2, 28, 28)), y_train=np.arange(2))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="mnist.npz has no array 'x_test': remove it"):
        keras_datasets.load("mnist")


def test_columns_of_numbers_are_a_series(tmp_path):
    file = tmp_path / "s.csv"
    file.write_text("time,a,b\nmonday,1,2.5\ntuesday,3,4\n")
    series = samples.column(str(file), ["b", "a"])
    assert series.tolist() == [[2.5, 1], [4, 3]] and series.dtype == np.float32
    for line, said in [
        ("wednesday,,4", "a missing value is no number"), ("wednesday,nan,4", "'nan' is no number"),
        ("wednesday,1e39,4", "'1e39' is too large for float32"),
    ]:  # fmt: skip
        file.write_text(f"time,a,b\nmonday,1,2.5\n{line}\n")
        with pytest.raises(UsageError, match=f"s.csv, line 3, column 'a': {said}"):
            samples.column(str(file), ["b", "a"])
    with pytest.raises(UsageError, match="column.names is empty"):
        samples.column(str(file), [])
    file.write_text("time,a,b\n")
    with pytest.raises(UsageError, match="s.csv holds no row"):
        samples.column(str(file), ["a"])
