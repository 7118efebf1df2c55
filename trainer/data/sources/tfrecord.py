"""TFRecord files: an index of their records, a reader of records by index, and a writer of several files.

The format is that of https://www.tensorflow.org/tutorials/load_data/tfrecord: for each record its length (uint64), a
checksum of the length (uint32), the bytes, and a checksum of the bytes (uint32), all little-endian. Lengths are checked
when files are opened, bytes when they are read. Compressed files are not read.
"""

import glob
import os
import struct
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import google_crc32c
import numpy as np
import tensorflow as tf

from trainer.base.errors import TrainingError, UsageError
from trainer.base.liveness import progressed
from trainer.data import image_decoding
from trainer.data.reading import essence
from trainer.data.source import Field, Source, Splits
from trainer.data.sources.arrays import DTYPES, resident
from trainer.storage import atomic

_LENGTH, _HEADER, _FOOTER = 8, 12, 4
# A file is scanned through a window of this many bytes: many records if they are small, one length if they are not.
_WINDOW = 4096
_IMAGE = "image"


class Files:
    """The records of some files as bytes, by index, numbered from the first file to the last.

    Args:
      paths: the files.

    Raises:
      UsageError: a record's length is damaged, a file ends within a record, or it is not a TFRecord file.
    """

    def __init__(self, paths: Sequence[str]):
        self._paths, self._descriptors = list(paths), list[int]()
        # Not when the process ends, where threads of tf.data may still read.
        weakref.finalize(self, _close, self._descriptors).atexit = False
        for path in paths:
            self._descriptors.append(os.open(path, os.O_RDONLY))
        found = [_scanned(descriptor, path) for descriptor, path in zip(self._descriptors, paths, strict=True)]
        counts = [len(offsets) for offsets, _ in found]
        self._file = np.repeat(np.arange(len(paths)), counts)
        self._offsets, self._lengths = (np.concatenate(each) for each in zip(*found, strict=True))
        self.firsts = np.cumsum([0, *counts[:-1]])  # the first record of each file

    def __len__(self) -> int:
        return len(self._offsets)

    def read(self, indices: tf.Tensor) -> tf.Tensor:
        """The records `indices` (int64 [n]): strings [n].

        Raises (outside of a graph):
          TrainingError: a record is damaged.
        """
        return tf.ensure_shape(tf.numpy_function(self._records, [indices], tf.string), [None])

    def place(self, index: int) -> str:
        """The file and byte of a record, for messages."""
        file = self._file[index]
        return f"{self._paths[file]}: record {index - self.firsts[file]:,}, at byte {self._offsets[index]:,}"

    def _records(self, indices: np.ndarray) -> np.ndarray:
        return np.array([self._record(index) for index in indices], object)

    def _record(self, index: int) -> bytes:
        # Not from mapped memory: Python's global lock would be held until it has come from the disk and is copied.
        file, length = self._descriptors[self._file[index]], int(self._lengths[index])
        begin = int(self._offsets[index]) + _HEADER
        try:
            record, checksum = os.pread(file, length, begin), os.pread(file, _FOOTER, begin + length)
        except OSError as error:
            raise TrainingError(f"{self.place(index)}, cannot be read: {error.strerror}") from error
        if checksum != _checksum(record).to_bytes(_FOOTER, "little"):
            raise TrainingError(f"{self.place(index)}, is damaged: its checksum is wrong; copy the file again")
        return record


class Examples:
    """The records of some files, each a tf.train.Example.

    Args:
      paths: the files.
      features: name -> (shape, type); see splits.

    Raises:
      UsageError: see Files; a shape or type is not supported; or the first record of a file is damaged or lacks one.
    """

    def __init__(self, paths: Sequence[str], features: Mapping[str, tuple[tuple[int, ...], str]]):
        self._files = Files(paths)
        self.fields = {name: _field(name, *feature) for name, feature in features.items()}
        self._images = [name for name, (_, dtype) in features.items() if dtype == _IMAGE]
        self._spec = {name: _stored(field.shape, features[name][1]) for name, field in self.fields.items()}
        for first in self._files.firsts:
            try:
                self.read(tf.constant([first]))
                progressed()
            except TrainingError as error:
                raise UsageError(error.message) from error

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        records = self._files.read(indices)
        try:
            return self._parsed(records)
        except tf.errors.OpError:  # outside of a graph
            for index, record in zip(indices, records, strict=True):
                self._require(int(index), record)
            raise

    def _require(self, index: int, record: tf.Tensor) -> None:
        try:
            self._parsed(record[None])
        except tf.errors.OpError as error:
            where, said = self._files.place(index), essence(error)
            raise TrainingError(f"{where}: {said}; correct the features, or make the file again") from error

    def _parsed(self, records: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(records, self._spec)
        return {name: self._values(name, parsed[name]) for name in self.fields}

    def _values(self, name: str, stored: tf.Tensor) -> tf.Tensor:
        field = self.fields[name]
        if name in self._images:
            height, width, channels = field.shape
            # AutoGraph would add its own frames to error messages.
            decode = tf.autograph.experimental.do_not_convert(
                lambda encoded: image_decoding.decoded(encoded, (height, width), channels, background=255)
            )
            return tf.map_fn(decode, stored, fn_output_signature=tf.TensorSpec(field.shape, field.dtype))
        if stored.dtype != tf.int64:
            return tf.cast(stored, field.dtype)
        low, high = _limits(field.dtype)
        fits = tf.reduce_all((stored >= low) & (stored <= high))
        said = f"Feature: {name} holds a number that is no {field.dtype}, which goes from {low} to {high}"
        with tf.control_dependencies([tf.raw_ops.Assert(condition=fits, data=[said])]):
            return tf.cast(stored, field.dtype)


def splits(
    features: Mapping[str, tuple[tuple[int, ...], str]],
    train: str,
    validation: str | None = None,
    test: str | None = None,
) -> Splits:
    """Returns the examples in TFRecord files, each split given by a pattern such as 'data/train-*.tfrecord'.

    A split that fits into memory (arrays.RESIDENT_BYTES) is read once, now. The records of a larger one are read while
    training: a broken one ends the run when it is read, and the range of the labels is not known beforehand.

    Args:
      features: name -> (shape, type) of each field. Types are numbers, such as 'float32', 'uint8' and 'int64', and
        'image': an encoded image file as in images.Files, which becomes uint8 of the given shape, (height, width, 3) or
        (height, width, 1) for grey, with white where it is transparent.
      train, validation, test: patterns of files; None: no such split.

    Raises:
      UsageError: a pattern matches no file, a record cannot be read; or see Examples.
    """
    patterns = {"train": train, "validation": validation, "test": test}
    found = {}
    for name, pattern in patterns.items():
        if pattern:
            found[name] = resident(Examples(_files(pattern), features), pattern)
    return Splits.of(found)


def write(source: Source, path: str, shards: int = 1) -> list[str]:
    """Writes a source's examples, in order, to PATH-00000-of-00004.tfrecord and so on; returns the files.

    Files are written atomically. Integers and booleans are stored as int64, and all floating-point numbers as float32,
    since tf.train.Example has no other types.

    Args:
      source: of the examples.
      path: the beginning of the files' paths; the folder is created if there is none.
      shards: how many files; their sizes differ by one example at most.

    Raises:
      UsageError: there are fewer examples than files, or a number does not fit into int64.
    """
    if not 1 <= shards <= len(source):
        raise UsageError(f"tfrecord.write: shards = {shards}: give a number from 1 to the {len(source):,} examples")
    target = Path(path).expanduser()
    target.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for shard, numbers in enumerate(np.array_split(np.arange(len(source)), shards)):
        file = f"{target}-{shard:05d}-of-{shards:05d}.tfrecord"
        with atomic.replacing(Path(file)) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
            for first in range(0, len(numbers), 1024):
                indices = tf.constant(numbers[first : first + 1024], tf.int64)
                batch = {name: tensor.numpy() for name, tensor in source.read(indices).items()}
                for i in range(len(indices)):
                    writer.write(_example({name: array[i] for name, array in batch.items()}))
        written.append(file)
    return written


def _example(values: Mapping[str, np.ndarray]) -> bytes:
    features = {}
    for name, value in values.items():
        flat = np.ravel(value)
        if flat.dtype.kind in "OS":
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=flat.tolist()))
        elif flat.dtype.kind == "f":
            features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=flat))
        elif flat.dtype == np.uint64 and (flat > np.iinfo(np.int64).max).any():
            raise UsageError(
                f"tfrecord.write: field '{name}' holds {flat.max()}, which is beyond int64: store it as floats"
            )
        else:
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=flat.astype(np.int64)))
    serialized: bytes = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    return serialized


def _field(name: str, shape: tuple[int, ...], dtype: str) -> Field:
    """The field of a feature in a batch."""
    if dtype == _IMAGE:
        if len(shape) != 3 or min(shape) < 1 or shape[2] not in (1, 3):
            raise UsageError(f"features: '{name}' is an image: give its shape as (height, width, 3), or 1; got {shape}")
        return Field(tuple(shape), "uint8")
    if dtype not in DTYPES:
        raise UsageError(
            f"features: '{name}' is of type '{dtype}': give 'image', or one of {', '.join(sorted(DTYPES))}"
        )
    return Field(tuple(shape), dtype)


def _stored(shape: tuple[int, ...], dtype: str) -> tf.io.FixedLenFeature:
    """How a feature is stored in a record, which has only bytes, float32 and int64."""
    if dtype == _IMAGE:
        return tf.io.FixedLenFeature((), tf.string)
    return tf.io.FixedLenFeature(shape, tf.float32 if tf.as_dtype(dtype).is_floating else tf.int64)


def _limits(dtype: str) -> tuple[int, int]:
    """The least and the largest number of an integer type, or of bool, within int64."""
    if dtype == "bool":
        return 0, 1
    of_type, stored = np.iinfo(dtype), np.iinfo(np.int64)
    return max(of_type.min, stored.min), min(of_type.max, stored.max)


def _checksum(data: bytes) -> int:
    """The masked CRC-32C of the format."""
    found: int = google_crc32c.value(data)
    return ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _files(pattern: str) -> list[str]:
    found = sorted(glob.glob(str(Path(pattern).expanduser())))
    if not found:
        raise UsageError(f"no such file of records: {pattern}")
    return found


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _scanned(descriptor: int, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the records of a file begin, and their lengths without what the format adds: int64 [n] each."""
    size, start, window = os.fstat(descriptor).st_size, 0, b""
    offsets, lengths, offset = list[int](), list[int](), 0
    if not size:
        raise UsageError(f"{path} is empty")
    while offset < size:
        if offset + _HEADER > size:
            raise UsageError(
                f"{path} is cut off at byte {offset:,}, within the head of record {len(offsets):,}: copy it again"
            )
        if offset + _HEADER > start + len(window):
            start, window = offset, os.pread(descriptor, _WINDOW, offset)
            progressed()
        at = offset - start
        length, checksum = struct.unpack_from("<QI", window, at)
        if checksum != _checksum(window[at : at + _LENGTH]):
            raise UsageError(
                f"{path} is damaged, or no TFRecord file: the checksum of the length of record {len(offsets):,}, at "
                f"byte {offset:,}, is another: copy it again"
            )
        end = offset + _HEADER + length + _FOOTER
        if end > size:
            raise UsageError(
                f"{path} is cut off: record {len(offsets):,}, at byte {offset:,}, is to have {length:,} bytes, which "
                f"is beyond the file's end at {size:,}: copy it again"
            )
        offsets.append(offset)
        lengths.append(length)
        offset = end
    return np.array(offsets, np.int64), np.array(lengths, np.int64)
