"""Data sets of TensorFlow Datasets, by name; the extra `tfds`.

tfds downloads a set once and keeps it as TFRecord files, of which any record can be read here. Sets that are kept in
another format are not read.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.data.source import Field, Source, Splits
from trainer.data.sources import tfrecord
from trainer.data.sources.arrays import resident
from trainer.data.sources.downloads import one_at_a_time
from trainer.data.splits import Subset
from trainer.errors import UsageError


class Decoded:
    """The examples of records, decoded in the graph when they are asked for.

    Args:
      records: their bytes.
      features: of the set, a tfds.features.FeaturesDict.
      names: field -> the feature that it is.
      size: (height, width) that images of any size are resized to.

    Raises:
      UsageError: there is no such feature, or its examples are not all of one shape.
    """

    def __init__(
        self, records: tfrecord.Files, features, names: Mapping[str, str], size: tuple[int, int] | None = None
    ):
        self._records, self._names, self._size = records, dict(names), size
        for feature in self._names.values():
            if feature not in features:
                raise UsageError(f"load.fields: there is no feature '{feature}'; there are: {', '.join(features)}")
        self._features = features
        self.fields = {field: self._field(features[feature], feature) for field, feature in self._names.items()}

    def _field(self, feature, name: str) -> Field:
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
        return tf.map_fn(self._decode, self._records.read(indices), fn_output_signature=signature)

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
    """Returns the splits of a set of numbers: images, labels, measurements. Of texts: see `texts`.

    Args:
      name: of the set, with its configuration and version where it has several: 'mnist', 'cats_vs_dogs:4.0.1'.
      fields: field -> feature; None: 'x' and 'y' are the two that the set is usually learned by.
      train, validation, test: which of its splits they are, as tfds writes it: 'train[:80%]'; None: there is none.
      size: (height, width) that images of any size are resized to.
      folder: where sets are kept; None: ~/tensorflow_datasets, or $TFDS_DATA_DIR.

    Raises:
      UsageError: there is no such set, split or feature; it cannot be downloaded; or see Decoded.
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
    """Returns the texts and labels of a set such as 'imdb_reviews', for trainer.data.sources.text.labelled.

    Args:
      text, label: the features that they are.
      name, train, validation, test, folder: see `load`.

    Raises:
      UsageError: there is no such set, split or feature; or it cannot be downloaded.
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
        examples = list(builder.as_dataset(split=wanted, shuffle_files=False).as_numpy_iterator())
        found[split] = ([each[text].decode() for each in examples], [int(each[label]) for each in examples])
    return found


def _prepared(name: str, folder: str | None):
    """The tfds builder of a set that is on the disk now."""
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise UsageError("sets of tfds need TensorFlow Datasets: pip install 'convoy-train[tfds]'") from error
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    root = Path(folder or tfds.core.constants.DATA_DIR).expanduser().absolute()
    try:
        builder = tfds.builder(name, data_dir=root)
    except Exception as error:  # tfds has no one class for what may be wrong with a name
        said = str(error).strip().splitlines()[0]
        raise UsageError(f"tfds: {said} (load.name = '{name}', folder {root})") from error
    try:
        if not builder.is_prepared():  # else it may be in a folder that others share and nobody can write to
            with one_at_a_time(root / f".{builder.name}.lock"):
                builder.download_and_prepare()
    except Exception as error:  # nor for what may go wrong in a download
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"the set {name} is not in {root} and cannot be made: {said}. On a machine with a network run: python -c "
            f"\"import tensorflow_datasets as tfds; tfds.load('{name}')\", and copy its folder to {root}"
        ) from error
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise UsageError(f"{builder.data_dir} is kept as {builder.info.file_format.value}: only tfrecord is read here")
    return builder


def _instructions(builder, split: str) -> Sequence:
    """Which records of which files a split is."""
    try:
        found = builder.info.splits[split].file_instructions
    except (ValueError, KeyError, AssertionError) as error:
        raise UsageError(f"{builder.name} has no split '{split}'; it has: {', '.join(builder.info.splits)}") from error
    if not found:
        raise UsageError(f"the split '{split}' of {builder.name} holds no example")
    return found


def _numbers(parts: Sequence) -> np.ndarray:
    """The numbers of their records among all records of their files."""
    found, before = [], 0
    for part in parts:
        found.append(np.arange(before + part.skip, before + part.skip + part.take))
        before += part.examples_in_shard
    return np.concatenate(found)
