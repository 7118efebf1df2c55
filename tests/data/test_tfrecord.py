"""TFRecord files: any record can be read, in any order; a file that is cut off is refused with the place."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.data.sources import tfrecord
from trainer.data.sources.arrays import Arrays
from trainer.errors import UsageError

FEATURES = {"x": ((2, 3), "uint8"), "y": ((), "int64"), "w": ((), "float32")}


@pytest.fixture
def source():
    random = np.random.default_rng(0)
    return Arrays({
        "x": random.integers(0, 255, (10, 2, 3)).astype(np.uint8), "y": np.arange(10), "w": random.random(10, np.float32),
    })  # fmt: skip


@pytest.fixture
def files(source, tmp_path):
    return tfrecord.write(source, str(tmp_path / "digits"), shards=3)


def test_what_was_written_is_read_in_any_order(source, files, tmp_path):
    assert [file.rsplit("/", 1)[1] for file in files] == [f"digits-{i:05d}-of-00003.tfrecord" for i in range(3)]
    found = tfrecord.splits(FEATURES, train=str(tmp_path / "digits-*"), test=files[0])
    assert (len(found.train), len(found.test)) == (10, 4)
    indices = tf.constant([9, 0, 4, 4, 3], tf.int64)
    expected = source.read(indices)
    for name, tensor in tf.function(found.train.read)(indices).items():
        np.testing.assert_array_equal(tensor, expected[name])
        assert tensor.dtype == found.train.fields[name].dtype == source.fields[name].dtype


def test_they_are_tensorflows_own_format(files):
    numbers = [
        tf.io.parse_single_example(record, {"y": tf.io.FixedLenFeature([], tf.int64)})["y"].numpy()
        for record in tf.data.TFRecordDataset(files)
    ]
    assert numbers == list(range(10))


def test_a_file_that_is_cut_off_is_refused_with_the_place(files):
    with open(files[1], "rb+") as file:
        file.truncate(file.seek(0, 2) - 5)
    with pytest.raises(UsageError, match=r"digits-00001.*is cut off.*record 3, at byte [\d,]+"):
        tfrecord.splits(FEATURES, train=files[1])
    with open(files[2], "rb+") as file:
        first = file.seek(0, 2)
        file.write(b"\x01\x02")
    with pytest.raises(UsageError, match=f"is cut off at byte {first:,}, within the head of record 2"):
        tfrecord.splits(FEATURES, train=files[2])


def test_other_files_and_features_are_refused(files, tmp_path):
    with pytest.raises(UsageError, match="no such file of records"):
        tfrecord.splits(FEATURES, train=str(tmp_path / "none-*"))
    (tmp_path / "text").write_text("this is a text, and a long one at that")
    with pytest.raises(UsageError, match="is cut off, or no TFRecord file"):
        tfrecord.splits(FEATURES, train=str(tmp_path / "text"))
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(UsageError, match="is empty"):
        tfrecord.splits(FEATURES, train=str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="correct the features"):
        tfrecord.splits({"z": ((), "int64")}, train=files[0])
