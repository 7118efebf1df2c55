"""The values of a checkpoint as files in TensorFlow's format, for tf.train.load_checkpoint, and their checksums."""

import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.base import unlocked
from trainer.base.liveness import progressed
from trainer.rundir.manifest import Damaged

# Of the files' names, which go on with a dot.
_PREFIX = "state"
# Values are written and read in groups of at most this many bytes, or of one value: then memory need not hold all of
# them a second time, and the work can be seen to go on.
_AT_ONCE = 256 << 20


def write(folder: Path, values: Mapping[str, np.ndarray]) -> dict[str, dict[str, int]]:
    """Writes values into a folder, a data file for each group; returns `bytes` and `crc32` of each file by its name."""
    _write_values(folder / _PREFIX, values)
    return {path.name: {"bytes": path.stat().st_size, "crc32": _crc32(path)} for path in folder.glob(f"{_PREFIX}.*")}


def read(folder: Path, files: Mapping[str, Mapping[str, int]]) -> dict[str, np.ndarray]:
    """Returns the values in a folder, not to be written to.

    Args:
      files: what `write` returned.

    Raises:
      Damaged: a file is not as it was written.
      OSError, tf.errors.OpError: it could not be read.
    """
    _verify(folder, files)
    return _read_values(folder / _PREFIX)


def _verify(folder: Path, files: Mapping[str, Mapping[str, int]]) -> None:
    """Raises Damaged if a file is not as its manifest says."""
    for name, expected in files.items():
        file = folder / name
        if not file.exists():
            raise Damaged(f"{name} is missing")
        if file.stat().st_size != expected["bytes"]:
            raise Damaged(f"{name} has {file.stat().st_size:,} of {expected['bytes']:,} bytes")
        if _crc32(file) != expected["crc32"]:
            raise Damaged(f"{name} has the wrong checksum")


def _write_values(prefix: Path, values: Mapping[str, np.ndarray]) -> None:
    """Writes values in TensorFlow's format, a data file for each group."""
    parts = list[str]()
    with tf.device("CPU:0"):
        for names in _groups({name: value.nbytes for name, value in values.items()}):
            parts.append(str(prefix.with_name("parts") / str(len(parts))))
            tf.raw_ops.SaveV2(
                prefix=parts[-1],
                tensor_names=names,
                shape_and_slices=[""] * len(names),
                tensors=[unlocked.tensor(values[name]) for name in names],
            )
            progressed(len(names))
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(prefix), delete_old_dirs=True)


def _read_values(prefix: Path) -> dict[str, np.ndarray]:
    # The reader's own get_tensor holds Python's global lock while it reads.
    reader = tf.train.load_checkpoint(str(prefix))
    dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    values = {}
    with tf.device("CPU:0"):
        for names in _groups({name: math.prod(shape) * dtypes[name].size for name, shape in shapes.items()}):
            tensors = tf.raw_ops.RestoreV2(
                prefix=str(prefix),
                tensor_names=names,
                shape_and_slices=[""] * len(names),
                dtypes=[dtypes[name] for name in names],
            )
            for name, tensor in zip(names, tensors, strict=True):
                # NumPy looks at the tensor's own memory; texts have none that it could look at.
                values[name] = np.asarray(tensor.numpy() if tensor.dtype == tf.string else tensor)
                progressed()
    return values


def _groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The names in groups, in their order; sizes: bytes by name."""
    group, total = list[str](), 0
    for name, size in sizes.items():
        if group and total + size > _AT_ONCE:
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    yield group


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
            progressed()
    return checksum
