"""Data sets of TensorFlow Datasets (tfds), by name; needs the extra `tfds`.

tfds downloads a data set once and stores it as TFRecord files, whose records are read here by index. Data sets stored
in another format are not read.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.base.liveness import progressed
from trainer.data.source import Field, Source, Splits
from trainer.data.sources import tfrecord
from trainer.data.sources.arrays import resident
from trainer.data.sources.downloads import one_at_a_time
from trainer.data.splits import Subset


class Decoded:
    """The examples in records, decoded in the graph when they are read.

    Args:
      records: the encoded examples.
      features: of the data set, a tfds.features.FeaturesDict.
      names: field -> feature.
      size: (height, width) that images of varying size are resized to.

    Raises:
      UsageError: there is no such feature, or its examples are not all of one shape.
    """

    def __init__(
        self,
        records: tfrecord.Files,
        features: Any,
        names: Mapping[str, str],
        size: tuple[int, int] | None = None,
    ):
        self._records, self._names, self._size = records, dict(names), size
        for feature in self._names.values():
            if feature not in features:
                raise UsageError(f"load.fields: there is no feature '{feature}'; there are: {', '.join(features)}")
        self._features = features
        self.fields = {field: self._field(features[feature], feature) for field, feature in self._names.items()}

    def _field(self, feature: Any, name: str) -> Field:
        info = feature.get_tensor_info()
        if not hasattr(info, "shape") or info.dtype in (str, bytes, np.object_) or tf.as_dtype(info.dtype) == tf.string:
            raise UsageError(f"load.fields: the feature '{name}' holds no numbers of one shape: {feature}")
        shape = info.shape
        if len(shape) == 3 and None in shape[:2] and self._size is not None:
            shape = (*self._size, shape[2])
        if None in shape:
            remedy = "set load.size" if len(shape) == 3 else "choose another one"
            raise UsageError(f"load.fields: the feature '{name}' has the shape {list(shape)}, of any size: {remedy}")
        classes = getattr(feature, "num_classes", None)
        return Field(tuple(shape), tf.as_dtype(info.dtype).name, *((0, classes - 1) if classes else (None, None)))

    def __len__(self) -> int:
        return len(self._records)

    def read(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        signature = {name: tf.TensorSpec(field.shape, field.dtype) for name, field in self.fields.items()}
        examples: dict[str, tf.Tensor] = tf.map_fn(
            self._decode, self._records.read(indices), fn_output_signature=signature
        )
        return examples

    def _decode(self, record: tf.Tensor) -> dict[str, tf.Tensor]:
        example = self._features.deserialize_example(record)
        found = {}
        for name, feature in self._names.items():
            values, field = example[feature], self.fields[name]
            if values.shape != field.shape and len(field.shape) == 3:
                resized = tf.image.resize(values, field.shape[:2], antialias=True)
                values = tf.saturate_cast(tf.round(resized) if values.dtype.is_integer else resized, field.dtype)
            found[name] = tf.ensure_shape(values, field.shape)
        return found


def load(
    name: str,
    fields: Mapping[str, str] | None = None,
    train: str = "train",
    validation: str | None = None,
    test: str | None = "test",
    size: tuple[int, int] | None = None,
    folder: str | None = None,
) -> Splits:
    """Returns the splits of a data set of numbers: images, labels, measurements. For texts see `texts`.

    Args:
      name: of the data set, with configuration and version if it has several: 'mnist', 'cats_vs_dogs:4.0.1'.
      fields: field -> feature; None: 'x' and 'y' are the data set's supervised_keys.
      train, validation, test: the data set's splits, in tfds's notation: 'train[:80%]'; None: no such split.
      size: (height, width) that images of varying size are resized to.
      folder: where data sets are stored; None: ~/tensorflow_datasets, or $TFDS_DATA_DIR.

    Raises:
      UsageError: there is no such data set, split or feature; it cannot be downloaded; or see Decoded.
    """
    builder = _prepared(name, folder)
    if fields is None:
        if not builder.info.supervised_keys:
            raise UsageError(f"load.fields: name the features of {name}; it has: {', '.join(builder.info.features)}")
        fields = dict(zip(("x", "y"), builder.info.supervised_keys, strict=False))
    found: dict[str, Source] = {}
    for split, wanted in {"train": train, "validation": validation, "test": test}.items():
        if wanted is not None:
            parts = _instructions(builder, wanted)
            records = tfrecord.Files([str(part.filename) for part in parts])
            decoded = Decoded(records, builder.info.features, fields, size)
            found[split] = resident(Subset(decoded, _numbers(parts)), f"{name} ({wanted})")
    return Splits.of(found)


def texts(
    name: str,
    text: str = "text",
    label: str = "label",
    train: str = "train",
    validation: str | None = None,
    test: str | None = "test",
    folder: str | None = None,
) -> dict[str, tuple[list[str], list[int]]]:
    """Returns the texts and labels of a data set such as 'imdb_reviews', for trainer.data.sources.text.labelled.

    Args:
      text, label: the names of the features.
      name, train, validation, test, folder: see `load`.

    Raises:
      UsageError: there is no such data set, split or feature; or it cannot be downloaded.
    """
    builder = _prepared(name, folder)
    found = {}
    for split, wanted in {"train": train, "validation": validation, "test": test}.items():
        if wanted is None:
            continue
        for feature in (text, label):
            if feature not in builder.info.features:
                there = ", ".join(builder.info.features)
                raise UsageError(f"texts: {name} has no feature '{feature}'; it has: {there}")
        _instructions(builder, wanted)
        said, labels = found[split] = list[str](), list[int]()
        for each in builder.as_dataset(split=wanted, shuffle_files=False).as_numpy_iterator():
            said.append(each[text].decode())
            labels.append(int(each[label]))
            progressed()
    return found


def _prepared(name: str, folder: str | None) -> Any:
    """The tfds builder of a data set; downloads it if it is not on the disk yet."""
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise UsageError("sets of tfds need TensorFlow Datasets: pip install 'convoy-train[tfds]'") from error
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    root = Path(folder or tfds.core.constants.DATA_DIR).expanduser().absolute()
    try:
        builder = tfds.builder(name, data_dir=root)
    except Exception as error:  # tfds raises exceptions of many classes for a wrong name
        said = str(error).strip().splitlines()[0]
        raise UsageError(f"tfds: {said} (load.name = '{name}', folder {root})") from error
    try:
        if not builder.is_prepared():  # otherwise no lock: the folder may be shared and read-only
            with one_at_a_time(root / f".{builder.name}.lock"):
                builder.download_and_prepare()
    except Exception as error:  # and for a failed download
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"the set {name} is not in {root} and cannot be made: {said}. On a machine with a network run: python -c "
            f"\"import tensorflow_datasets as tfds; tfds.load('{name}')\", and copy its folder to {root}"
        ) from error
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise UsageError(f"{builder.data_dir} is kept as {builder.info.file_format.value}: only tfrecord is read here")
    return builder


def _instructions(builder: Any, split: str) -> Sequence[Any]:
    """The records of which files make up a split (tfds's file instructions)."""
    try:
        found: Sequence[Any] = builder.info.splits[split].file_instructions
    except (ValueError, KeyError, AssertionError) as error:
        raise UsageError(f"{builder.name} has no split '{split}'; it has: {', '.join(builder.info.splits)}") from error
    if not found:
        raise UsageError(f"the split '{split}' of {builder.name} holds no example")
    return found


def _numbers(parts: Sequence[Any]) -> np.ndarray:
    """The indices of these records among all records of their files, int64 [n]."""
    found, before = [], 0
    for part in parts:
        found.append(np.arange(before + part.skip, before + part.skip + part.take))
        before += part.examples_in_shard
    return np.concatenate(found)
