"""Fingerprints of data: whether it is what a run began with. They know contents, and neither files nor times."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from trainer.base.liveness import progressed
from trainer.data.source import Source

_SAMPLES = 16
# Decoders of images may round differently on other machines; other data differs by more. The first is of the root of
# the mean square; the second is of the projection, in units of that root.
_TOLERANCE, _TOLERANCE_OF_PROJECTION = 4e-3, 0.02

# By field, what some examples hold: a checksum of texts and whole numbers; of floats and bytes, which decoders may have
# made, the root of the mean square and a projection that depends on the place of each number.
Fingerprint = Mapping[str, Sequence[int | Sequence[float]]]


def fingerprint(source: Source) -> Fingerprint:
    """Returns the fingerprint of a source, from 16 examples that are spread over it, the first and the last among them.

    Raises:
      TrainingError: one of them cannot be read.
    """
    rows = np.unique(np.linspace(0, len(source) - 1, min(_SAMPLES, len(source))).astype(np.int64))
    read, found = source.read(tf.constant(rows)), {}
    progressed()
    for name, values in sorted(read.items()):
        found[name] = _numbers(values.numpy())
        progressed()
    return found


def differing(before: Fingerprint, now: Fingerprint) -> list[str]:
    """The fields that differ between two fingerprints, those that only one of them has included."""
    return sorted(
        name
        for name in before.keys() | now.keys()
        if len(before.get(name, ())) != len(now.get(name, ()))
        or not all(map(_same, before.get(name, ()), now.get(name, ())))
    )


def _numbers(values: np.ndarray) -> list[int] | list[list[float]]:
    """Of each of some examples, [n, …]."""
    if values.dtype.kind in "OSU":
        return [zlib.crc32(b"\0".join(np.ravel(example).tolist())) for example in values]
    if values.dtype.kind in "iub" and values.dtype != np.uint8:
        return [zlib.crc32(np.ascontiguousarray(example).tobytes()) for example in values]
    size = max(values[0].size, 1)
    # Weights that a generator draws, the same in every process: they tell examples apart whose numbers changed places.
    weights = np.random.default_rng(0).normal(size=values[0].size)
    found = (np.nan_to_num(example.astype(np.float64).ravel()) for example in values)
    return [[float(np.sqrt(np.square(x).sum() / size)), float((x * weights).sum() / np.sqrt(size))] for x in found]


def _same(one: int | Sequence[float], other: int | Sequence[float]) -> bool:
    if isinstance(one, int) or isinstance(other, int):
        return one == other
    (root, projection), (other_root, other_projection) = one, other
    near = abs(root - other_root) <= _TOLERANCE * root
    return near and abs(projection - other_projection) <= _TOLERANCE_OF_PROJECTION * root
