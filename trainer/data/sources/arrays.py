"""Arrays that fit into memory: NumPy arrays, .npz and .npy files, of any rank.

A batch is one gather. Values keep their dtype (images as uint8), because a small model is limited by memory traffic and
not by arithmetic; models rescale. Nothing here downloads.
"""

import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from trainer.base import counted_files, unlocked
from trainer.base.errors import UsageError
from trainer.base.liveness import progressed
from trainer.data.reading import essence, unreadable
from trainer.data.source import Field, Source, Splits

# The dtypes of numbers that both NumPy and TensorFlow have, by NumPy's names.
DTYPES = frozenset("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split())
# Data up to this size is decoded once, when it is opened, and held in memory; more would take it from the model.
RESIDENT_BYTES = 1 << 30
# The types that a user's own loader may return.
Data = Source | Mapping[str, np.ndarray] | tuple[np.ndarray, np.ndarray]


class Arrays:
    """A source made of arrays of equal length.

    Args:
      arrays: field -> array [n, …].
      check_finite: refuse NaN and infinity in floating-point fields.
      name: of this source, for messages.

    Raises:
      UsageError: no examples, unequal lengths, a dtype not in DTYPES, or a value that is not finite.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], check_finite: bool = False, name: str = "the data"):
        self._arrays = {key: _array(name, key, array) for key, array in arrays.items()}
        if not self._arrays:
            raise UsageError(f"{name} has no fields")
        for key, array in self._arrays.items():
            if array.ndim == 0 or array.dtype.name not in DTYPES:
                raise UsageError(
                    f"{name}: field '{key}' is not an array of examples that are numbers (rank {array.ndim}, dtype "
                    f"{array.dtype}): convert it, for example to float32 or int64"
                )
        lengths = {key: len(array) for key, array in self._arrays.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"'{key}' {length:,}" for key, length in lengths.items())
            raise UsageError(f"{name}: the fields are of unequal length: {listed}")
        self._length = next(iter(lengths.values()))
        if self._length == 0:
            raise UsageError(f"{name} is empty: it holds no example")
        if check_finite:
            self._require_finite(name)
        self.fields = {key: _field(array) for key, array in self._arrays.items()}
        # Made once, on the host: a graph that captures a NumPy array copies it.
        self._tensors = {key: unlocked.tensor(array) for key, array in self._arrays.items()}

    def _require_finite(self, name: str) -> None:
        for key, array in self._arrays.items():
            if not np.issubdtype(array.dtype, np.floating):
                continue
            finite = np.isfinite(array).reshape(self._length, -1).all(axis=1)
            if not finite.all():
                bad = np.flatnonzero(~finite)
                raise UsageError(
                    f"{name}: field '{key}' has NaN or infinity in {len(bad):,} of {self._length:,} examples, "
                    f"the first at index {bad[0]}: clean the data, or set check_finite = False to train on it"
                )

    def __len__(self) -> int:
        return self._length

    def read(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        return {key: tf.gather(tensor, indices) for key, tensor in self._tensors.items()}


def _array(name: str, key: str, values: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise UsageError(f"{name}: field '{key}' is no array: {error}; give all examples one shape") from error


def _field(array: np.ndarray) -> Field:
    bounds: tuple[int | None, int | None] = (None, None)
    # Labels may be floats, too; but floats with more than one number per example are no labels, and not worth a scan.
    whole = array.dtype.kind in "iu" or (array[0].size == 1 and array.dtype.kind == "f" and (array % 1 == 0).all())
    if whole and array.size:
        bounds = (int(array.min()), int(array.max()))
    return Field(array.shape[1:], array.dtype.name, *bounds)


def as_source(data: Data, check_finite: bool = False, name: str = "the data") -> Source:
    """Returns a source made of what a user's loader returned: a source, a dict of arrays, or a pair (x, y).

    Args:
      data: what was returned.
      check_finite, name: see Arrays.

    Raises:
      UsageError: it is none of these; or see Arrays.
    """
    if isinstance(data, tuple) and len(data) == 2 and not hasattr(data, "_fields"):
        data = dict(zip(("x", "y"), data, strict=True))
    if isinstance(data, Mapping):
        return Arrays(data, check_finite, name)
    if hasattr(data, "read") and hasattr(data, "fields"):
        return cast(Source, data)
    raise UsageError(f"{name} must be a dict of arrays, a pair (x, y) or a source; got {type(data).__name__}")


def size_of(source: Source) -> int:
    """The bytes that all examples of a source take in memory."""
    each: int = sum(math.prod(field.shape) * tf.as_dtype(field.dtype).size for field in source.fields.values())
    return each * len(source)


def resident(source: Source, name: str) -> Source:
    """Returns all examples of a source as arrays, if they fit into memory (RESIDENT_BYTES); else the source itself.

    Args:
      source: the source.
      name: of it, for messages.

    Raises:
      UsageError: an example cannot be read.
    """
    if size_of(source) > RESIDENT_BYTES:
        return source
    read = tf.function(source.read, input_signature=[tf.TensorSpec([None], tf.int64)])
    parts = []
    for first in range(0, len(source), 1024):
        indices = tf.range(first, min(first + 1024, len(source)), dtype=tf.int64)
        try:
            parts.append(read(indices))
            progressed()
        except tf.errors.OpError as error:
            raise UsageError(unreadable(source, indices, name) or f"{name}: {essence(error)}") from error
    return Arrays({key: np.concatenate([part[key].numpy() for part in parts]) for key in source.fields}, name=name)


def splits(
    train: Callable[[], Data],
    validation: Callable[[], Data] | None = None,
    test: Callable[[], Data] | None = None,
    check_finite: bool = False,
) -> Splits:
    """Returns the splits that functions of the user load: dicts of arrays, pairs (x, y), or sources.

    Args:
      train, validation, test: each returns a split; None: no such split.
      check_finite: refuse NaN and infinity.

    Raises:
      UsageError: see as_source.
    """
    loaders = {"train": train, "validation": validation, "test": test}
    return Splits.of(
        {name: as_source(load(), check_finite, f"the {name} data") for name, load in loaders.items() if load}
    )


def npz(path: str, x: str = "x", y: str = "y", check_finite: bool = False) -> Splits:
    """Returns the splits of one .npz file.

    Args:
      path: a file with the arrays `{x}_train` and `{y}_train`, and, if there are such splits, `{x}_validation`,
        `{y}_validation`, `{x}_test` and `{y}_test`: the layout of the files of keras.datasets.
      x, y: how the names of the arrays in the file begin; in a batch they are always 'x' and 'y'.
      check_finite: refuse NaN and infinity.

    Raises:
      UsageError: the file cannot be read, or lacks an array.
    """
    arrays = load_npz(path)

    def split(name: str) -> Source | None:
        keys = {"x": f"{x}_{name}", "y": f"{y}_{name}"}
        if name != "train" and not any(key in arrays for key in keys.values()):
            return None
        for key in keys.values():
            if key not in arrays:
                raise UsageError(f"{path} has no array '{key}'; it has: {', '.join(sorted(arrays))}")
        return Arrays({field: arrays[key] for field, key in keys.items()}, check_finite, f"{path} ({name})")

    train = split("train")
    assert train is not None
    return Splits(train, split("validation"), split("test"))


def load_npz(path: str) -> dict[str, np.ndarray]:
    """Returns all arrays of an .npz file. Raises UsageError if it cannot be read."""
    try:
        with counted_files.reader(Path(path).expanduser()) as stream:
            if not stream.read(6).startswith((b"PK", b"\x93NUMPY")):
                raise UsageError(f"cannot read {path} as an .npz file, it may be damaged: it does not begin like one")
            stream.seek(0)
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise UsageError(
                    f"cannot read {path}: it is an .npy file, of one array without a name; give a file of np.savez"
                )
            return {key: _entry(path, file, key) for key in file.files}
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"cannot read {path} as an .npz file, it may be damaged: {error}") from error


def _entry(path: str, file: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    try:
        return file[key]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise UsageError(f"{path}: '{key}' holds Python objects: save it as an array of numbers or texts") from None
