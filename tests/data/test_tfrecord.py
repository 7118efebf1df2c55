"""TFRecord files: any record can be read, in any order; a file that is cut off or damaged is refused with the position."""

import gc
import glob
import os

import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import TrainingError, UsageError
from trainer.data.global_permutation import GlobalPermutation
from trainer.data.pipeline import Input, Layout
from trainer.data.source import Field
from trainer.data.sources import arrays, tfrecord
from trainer.data.sources.arrays import Arrays

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


@pytest.fixture
def large(monkeypatch):
    """Nothing fits into memory."""
    monkeypatch.setattr(arrays, "RESIDENT_BYTES", 0)


class Encoded:
    """Images as the bytes of files, and their numbers."""

    def __init__(self, files):
        self.fields = {"x": Field((), "string"), "y": Field((), "int64")}
        self._files = tf.constant(files)

    def __len__(self):
        return len(self._files)

    def read(self, indices):
        return {"x": tf.gather(self._files, indices), "y": indices}


def record(**values):
    """An example with one number, or several, a feature."""
    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=np.ravel(numbers)))
        for name, numbers in values.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def save(path, *records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for each in records:
            writer.write(each)
    return str(path)


def flip(path, byte, bit=0):
    with open(path, "rb+") as file:
        file.seek(byte)
        (value,) = file.read(1)
        file.seek(byte)
        file.write(bytes([value ^ 1 << bit]))


def train_on(source):
    """Takes a step of all examples."""
    examples = len(source)
    data = Input(source, GlobalPermutation(examples, examples), Layout(examples, 1, 1), tf.distribute.get_strategy())
    return next(data.open(0, 1).take(1)).block


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
    with pytest.raises(UsageError, match=r"digits-00001.*is cut off.*record 2, at byte [\d,]+"):
        tfrecord.splits(FEATURES, train=files[1])
    with open(files[2], "rb+") as file:
        first = file.seek(0, 2)
        file.write(b"\x01\x02")
    with pytest.raises(UsageError, match=f"is cut off at byte {first:,}, within the head of record 3"):
        tfrecord.splits(FEATURES, train=files[2])


def test_other_files_and_features_are_refused(files, tmp_path):
    with pytest.raises(UsageError, match="no such file of records"):
        tfrecord.splits(FEATURES, train=str(tmp_path / "none-*"))
    (tmp_path / "text").write_text("this is a text, and a long one at that")
    with pytest.raises(UsageError, match="text is damaged, or no TFRecord file"):
        tfrecord.splits(FEATURES, train=str(tmp_path / "text"))
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(UsageError, match="is empty"):
        tfrecord.splits(FEATURES, train=str(tmp_path / "empty"))
    with pytest.raises(
        UsageError, match=r"digits-00000.*record 0, at byte 0: Feature: z .*not be found; correct the feat"
    ):
        tfrecord.splits({"z": ((), "int64")}, train=files[0])
    with pytest.raises(UsageError, match="'x' is of type 'string': give 'image', or one of .*float32"):
        tfrecord.splits({"x": ((), "string")}, train=files[0])
    for shape in ((8, 8), (8, 8, 2), (0, 8, 3)):
        with pytest.raises(UsageError, match=r"'x' is an image: give its shape as \(height, width, 3\)"):
            tfrecord.splits({"x": (shape, "image")}, train=files[0])


def test_no_flipped_bit_goes_unnoticed(tmp_path):
    path = save(tmp_path / "a.tfrecord", *(record(y=number) for number in range(3)))
    every = tf.range(3, dtype=tf.int64)
    for byte in range((tmp_path / "a.tfrecord").stat().st_size):
        flip(path, byte, bit=byte % 8)
        with pytest.raises(
            (UsageError, TrainingError), match=r"a\.tfrecord.* record [012],.*(damaged|cut off)|is damaged"
        ):
            tfrecord.Files([path]).read(every)
        flip(path, byte, bit=byte % 8)
    assert len(tfrecord.Files([path]).read(every)) == 3


DAMAGED = r"b\.tfrecord: record 1, at byte 30, is damaged"
UNLIKE = r"b\.tfrecord: record 1, at byte 30: Feature: y .*could not be found"
BEYOND = r"b\.tfrecord: record 1, at byte 30: Feature: y holds a number that is no uint8, which goes from 0 to 255"


@pytest.mark.parametrize(("second", "says"), [
    (None, DAMAGED), (record(z=1), UNLIKE), (record(y=300), BEYOND), (record(y=-1), BEYOND),
])  # fmt: skip
def test_what_is_wrong_with_a_record_is_said_with_its_file_and_place(tmp_path, monkeypatch, second, says):
    save(tmp_path / "a.tfrecord", record(y=7))
    path = save(tmp_path / "b.tfrecord", record(y=7), second or record(y=7), record(y=7))
    if second is None:
        flip(path, 30 + 12 + 8)
    features, pattern = {"y": ((), "uint8")}, str(tmp_path / "*.tfrecord")
    with pytest.raises(UsageError, match=says):
        tfrecord.splits(features, pattern)
    monkeypatch.setattr(arrays, "RESIDENT_BYTES", 0)
    source = tfrecord.splits(features, pattern).train
    with pytest.raises(TrainingError, match=says) as error:
        train_on(source)
    assert "\n" not in error.value.message and "{{" not in error.value.message


def test_the_first_record_of_each_file_is_looked_at(tmp_path, large):
    save(tmp_path / "a.tfrecord", record(y=7), record(y=7))
    save(tmp_path / "b.tfrecord", record(y=[1, 2]))
    with pytest.raises(UsageError, match=r"b\.tfrecord: record 0, at byte 0: Key: y.*; correct the features"):
        tfrecord.splits({"y": ((), "int64")}, str(tmp_path / "*.tfrecord"))


def test_the_bounds_of_labels_are_known_of_what_fits_into_memory(files, source, monkeypatch):
    found = tfrecord.splits(FEATURES, files[0][:-21] + "*").train
    assert found.fields["y"][2:4] == (0, 9)
    monkeypatch.setattr(arrays, "RESIDENT_BYTES", 0)
    found = tfrecord.splits(FEATURES, files[0][:-21] + "*").train
    assert found.fields["y"][2:4] == (None, None)
    block = train_on(found)
    for name, values in source.read(tf.range(10, dtype=tf.int64)).items():
        np.testing.assert_array_equal(block[name][0, 0], values)


@pytest.mark.parametrize("bytes_in_memory", [1 << 30, 0])
def test_images_are_decoded_and_resized(tmp_path, monkeypatch, bytes_in_memory):
    monkeypatch.setattr(arrays, "RESIDENT_BYTES", bytes_in_memory)
    opaque, transparent = np.full((5, 7, 4), (80, 80, 80, 255)), np.full((9, 3, 4), (80, 80, 80, 0))
    encoded = [tf.io.encode_jpeg(np.full((20, 30, 1), 40, np.uint8)).numpy()]
    encoded += [tf.io.encode_png(each.astype(np.uint8)).numpy() for each in (opaque, transparent)]
    tfrecord.write(Encoded(encoded), str(tmp_path / "all"))
    for channels in (3, 1):
        features = {"x": ((6, 4, channels), "image"), "y": ((), "int64")}
        block = train_on(tfrecord.splits(features, str(tmp_path / "all-*")).train)
        assert block["x"].shape[1:] == (1, 3, 6, 4, channels) and block["x"].dtype == tf.uint8
        for image, grey in zip(block["x"][0, 0].numpy(), (40, 80, 255), strict=True):
            assert (image == grey).all()


def test_a_broken_image_is_said_with_its_file_and_place(tmp_path, large):
    good = tf.io.encode_png(np.zeros((4, 4, 3), np.uint8)).numpy()
    (file,) = tfrecord.write(Encoded([good, good[:40], good]), str(tmp_path / "all"))
    source = tfrecord.splits({"x": ((6, 4, 3), "image")}, file).train
    with pytest.raises(TrainingError, match=r"all-00000.*record 1, at byte [\d]+: Invalid PNG.*; correct the features"):
        train_on(source)


def test_any_number_that_fits_is_written_as_it_is(tmp_path):
    values = {
        "truth": np.array([True, False]), "large": np.array([2**63 - 1, 0], np.uint64),
        "short": np.array([-(2**15), 7], np.int16), "half": np.array([0.5, 1], np.float16), "double": np.array([0.1, 1]),
    }  # fmt: skip
    tfrecord.write(Arrays(values), str(tmp_path / "new" / "all"))
    features = {name: ((), array.dtype.name) for name, array in values.items()}
    found = tfrecord.splits(features, str(tmp_path / "new" / "all-*")).train.read([0, 1])
    for name, array in values.items():
        np.testing.assert_array_equal(found[name], array if name != "double" else array.astype(np.float32))
        assert found[name].dtype == array.dtype
    with pytest.raises(UsageError, match=f"field 'large' holds {2**63}, which is beyond int64"):
        tfrecord.write(Arrays({"large": np.array([2**63], np.uint64)}), str(tmp_path / "more"))


def test_shards_are_alike(source, tmp_path):
    for shards in (1, 4, 8, 10):
        files = tfrecord.write(source, str(tmp_path / str(shards)), shards)
        lengths = [len(tfrecord.Files([file])) for file in files]
        assert len(lengths) == shards and sum(lengths) == 10 and max(lengths) - min(lengths) <= 1
        numbers = tfrecord.splits(FEATURES, str(tmp_path / f"{shards}-*")).train.read(tf.range(10, dtype=tf.int64))["y"]
        assert numbers.numpy().tolist() == list(range(10))
    for shards in (0, -1, 11):
        with pytest.raises(UsageError, match=f"shards = {shards}: give a number from 1 to the 10 examples"):
            tfrecord.write(source, str(tmp_path / "none"), shards)


def test_scanning_and_reading_count_as_progress(files, tmp_path, monkeypatch, progress):
    scanned = progress(tfrecord.Files, files)
    assert scanned >= 3
    assert progress(tfrecord.Examples, files, FEATURES) == scanned + 3  # the first record of each file
    assert progress(tfrecord.splits, FEATURES, str(tmp_path / "digits-*")) == scanned + 3 + 1  # all, in one batch


def test_a_file_that_gets_shorter_or_cannot_be_read_any_more_is_named(files, monkeypatch):
    source = tfrecord.Examples(files, FEATURES)
    os.truncate(files[2], os.stat(files[2]).st_size // 2)
    with pytest.raises(TrainingError, match=r"digits-00002.*: record 2, at byte [\d,]+, is damaged"):
        source.read(tf.constant([9]))

    def fail(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(
        TrainingError, match=r"digits-00000.*: record 1, at byte \d+, cannot be read: Input/output error"
    ):
        source.read(tf.constant([1]))


def test_files_are_closed_with_their_source(files):
    open_files = lambda: [link for link in map(os.path.realpath, glob.glob("/proc/self/fd/*")) if link in files]
    source = tfrecord.Examples(files, FEATURES)
    assert sorted(open_files()) == files
    del source
    gc.collect()
    assert open_files() == []


def test_records_may_be_smaller_or_larger_than_what_is_scanned_at_once(tmp_path):
    random = np.random.default_rng(0)
    records = [random.bytes(size) for size in (*[5] * 1000, 4084, 4080, 4096, 100_000, *range(1, 200), 1 << 20, 0)]
    read = tfrecord.Files([save(tmp_path / "r", *records)])
    assert len(read) == len(records)
    assert read.read(tf.range(len(records), dtype=tf.int64)).numpy().tolist() == records
