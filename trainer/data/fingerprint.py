"""Fingerprints of data: whether it is what a run began with. They know contents, and neither files nor times."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from trainer.data.source import Source

_SAMPLES = 16
# Decoders of images may round differently on other machines; other data differs by more.
_TOLERANCE = 1e-3

# By field, a number for each of some examples: its mean, or a checksum of its texts.
Fingerprint = Mapping[str, Sequence[float]]


def fingerprint(source: Source) -> Fingerprint:
    """Returns the fingerprint of a source, from 16 examples that are spread over it, the first and the last among them.

    Raises:
      TrainingError: one of them cannot be read.
    """
    rows = np.unique(np.linspace(0, len(source) - 1, min(_SAMPLES, len(source))).astype(np.int64))
    read = source.read(tf.constant(rows))
    return {name: [_number(example) for example in values.numpy()] for name, values in sorted(read.items())}


def differing(before: Fingerprint, now: Fingerprint) -> list[str]:
    """The fields that differ between two fingerprints, those that only one of them has included."""
    return sorted(
        name
        for name in before.keys() | now.keys()
        if len(before.get(name, ())) != len(now.get(name, ()))
        or not np.allclose(before[name], now[name], rtol=_TOLERANCE, atol=_TOLERANCE**2)
    )


def _number(example: np.ndarray | bytes) -> float:
    values = np.asarray(example)
    if values.dtype.kind in "OSU":
        # So small that its neighbours are beyond the tolerance.
        return float(zlib.crc32(b"\0".join(values.ravel().tolist())) % 997)
    return float(np.nan_to_num(values.astype(np.float64).mean())) if values.size else 0.0
