"""TFRecord files: an index of where each record begins, a reader of any of them, and a writer of shards.

The format is that of https://www.tensorflow.org/tutorials/load_data/tfrecord: for each record its length (uint64), a
checksum of the length (uint32), the bytes, a checksum of the bytes (uint32), all little-endian.
"""

import glob
import mmap
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.data.source import Field, Source, Splits
from trainer.errors import UsageError

_HEADER, _FOOTER = 12, 4


class Files:
    """The records of some files as bytes, by number; it goes on from one file to the next.

    Args:
      paths: the files.

    Raises:
      UsageError: a file ends within a record, or is none of TFRecords.
    """

    def __init__(self, paths: Sequence[str]):
        self._maps = [_map(path) for path in paths]
        offsets = [_offsets(data, path) for data, path in zip(self._maps, paths, strict=True)]
        self._file = np.repeat(np.arange(len(paths)), [len(each) for each in offsets])
        self._offsets = np.concatenate(offsets)

    def __len__(self) -> int:
        return len(self._offsets)

    def read(self, indices: tf.Tensor) -> tf.Tensor:
        """The records `indices` (int64 [n]): strings [n]."""
        return tf.ensure_shape(tf.numpy_function(self._records, [indices], tf.string), [None])

    def _records(self, indices: np.ndarray) -> np.ndarray:
        return np.array([self._record(index) for index in indices], object)

    def _record(self, index: int) -> bytes:
        data, offset = self._maps[self._file[index]], int(self._offsets[index])
        (length,) = struct.unpack_from("<Q", data, offset)
        return data[offset + _HEADER : offset + _HEADER + length]


class Examples:
    """The records of some files, each a tf.train.Example.

    Args:
      paths: the files.
      features: name -> (shape, dtype); numbers, or 'string' for the bytes of an image.

    Raises:
      UsageError: see Files; or the first record lacks these features.
    """

    def __init__(self, paths: Sequence[str], features: Mapping[str, tuple[tuple[int, ...], str]]):
        self._files = Files(paths)
        self.fields = {name: Field(tuple(shape), dtype) for name, (shape, dtype) in features.items()}
        self._spec = {name: tf.io.FixedLenFeature(shape, _stored(dtype)) for name, (shape, dtype) in features.items()}
        if len(self):
            try:
                self.read(tf.zeros(1, tf.int64))
            except tf.errors.OpError as error:
                raise UsageError(f"{paths[0]}: {error.message.splitlines()[0]}; correct the features") from None

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(self._files.read(indices), self._spec)
        return {name: tf.cast(parsed[name], field.dtype) for name, field in self.fields.items()}


def splits(
    features: Mapping[str, tuple[tuple[int, ...], str]],
    train: str,
    validation: str | None = None,
    test: str | None = None,
) -> Splits:
    """Returns the records of files, each split given by a pattern such as 'data/train-*.tfrecord'.

    Args:
      features: see Examples.

    Raises:
      UsageError: a pattern matches no file; or see Examples.
    """
    patterns = {"train": train, "validation": validation, "test": test}
    return Splits.of({name: Examples(_files(each), features) for name, each in patterns.items() if each})


def write(source: Source, path: str, shards: int = 1) -> list[str]:
    """Writes a source's examples, in order, to PATH-00000-of-00004.tfrecord and so on; returns the files.

    They come to their names when they are whole.

    Args:
      shards: how many files, of equal length but for the last one.
    """
    per_file = -(-len(source) // shards)
    files = []
    for shard in range(shards):
        file = f"{path}-{shard:05d}-of-{shards:05d}.tfrecord"
        with tf.io.TFRecordWriter(f"{file}.partial") as writer:
            for first in range(shard * per_file, min((shard + 1) * per_file, len(source)), 1024):
                indices = tf.range(first, min(first + 1024, (shard + 1) * per_file, len(source)), dtype=tf.int64)
                batch = {name: tensor.numpy() for name, tensor in source.read(indices).items()}
                for i in range(len(indices)):
                    writer.write(_example({name: array[i] for name, array in batch.items()}))
        Path(f"{file}.partial").rename(file)
        files.append(file)
    return files


def _example(values: Mapping[str, np.ndarray]) -> bytes:
    features = {}
    for name, value in values.items():
        flat = np.ravel(value)
        if flat.dtype.kind in "OS":
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=flat.tolist()))
        elif flat.dtype.kind == "f":
            features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=flat))
        else:
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=flat))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _stored(dtype: str) -> tf.DType:
    """The one of TFRecord's three types that values of a type are kept in."""
    if dtype == "string":
        return tf.string
    return tf.float32 if tf.as_dtype(dtype).is_floating else tf.int64


def _files(pattern: str) -> list[str]:
    found = sorted(glob.glob(str(Path(pattern).expanduser())))
    if not found:
        raise UsageError(f"no such file of records: {pattern}")
    return found


def _map(path: str) -> mmap.mmap:
    with open(path, "rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise UsageError(f"{path} is empty") from None


def _offsets(data: mmap.mmap, path: str) -> np.ndarray:
    found, offset = list[int](), 0
    while offset < len(data):
        if offset + _HEADER > len(data):
            raise UsageError(
                f"{path} is cut off at byte {offset:,}, within the head of record {len(found):,}: copy it again"
            )
        length, _ = struct.unpack_from("<QI", data, offset)
        end = offset + _HEADER + length + _FOOTER
        if end > len(data):
            raise UsageError(
                f"{path} is cut off, or no TFRecord file: record {len(found):,}, at byte {offset:,}, is to have "
                f"{length:,} bytes, which is beyond the file's end at {len(data):,}: copy it again"
            )
        found.append(offset)
        offset = end
    return np.array(found, np.int64)
