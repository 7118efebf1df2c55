"""Features: the outputs of a frozen network for all examples, computed once and stored in the run directory.

A run trains on them instead of the data. The network itself is not trained.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer.base import counted_files, unlocked
from trainer.base.errors import UsageError
from trainer.base.liveness import progressed
from trainer.data.source import Field, Source, Splits
from trainer.data.sources.arrays import RESIDENT_BYTES, Arrays, load_npz, size_of
from trainer.storage import atomic
from trainer.tasks.protocol import Batch, Parts

# Number of examples per split that go into the key, for data that does not fit into memory.
_SAMPLES = 4096
# A warm start's default name of a model.
_MODEL = "model"


class Features(NamedTuple):
    """splits: to train on.  keep: stores them in the run directory; called once the run has begun."""

    splits: Splits
    keep: Callable[[], None]


def stored(
    splits: Splits,
    directory: Path,
    model: Callable[[], keras.Model],
    start: Callable[[], Callable[[Parts, Mapping[str, Field]], str]] | None = None,
    field: str = "x",
    batch_size: int = 32,
) -> Features:
    """Returns the splits with one field replaced by a network's outputs for it; other fields are unchanged.

    They are stored in DIRECTORY/<key>_<split>.npz. The key is a hash of the network, its weights and the examples, so
    features of another network or other data are never used. For data that does not fit into memory, 4,096 examples
    and the number of examples are hashed.

    Args:
      splits: the data.
      directory: of the files.
      model: makes the network, with one input, and one output float [n, …].
      start: makes the warm start that sets its weights, see trainer.pretrained.warm_start.WarmStart.
      field: the network's input; the output takes its name.
      batch_size: examples per call of the network.

    Raises:
      UsageError: the data has no such field, or a stored file cannot be read.
    """
    fields = splits.fields()
    if field not in fields:
        raise UsageError(f"stored.field = '{field}': the data has: {', '.join(sorted(fields))}")
    network = model()
    network(tf.zeros((1, *fields[field].shape), fields[field].dtype))  # builds its layers
    notes = [*splits.notes]
    if start is not None:
        notes.append(start()(Parts([], {_MODEL: network}), fields))
    parts, computed = dict[str, Source](), dict[Path, dict[str, np.ndarray]]()
    for split, source in splits.parts().items():
        file = directory / f"{_key(network, source, field)}_{split}.npz"
        if not file.exists():
            computed[file] = _outputs(network, source, field, batch_size)
        parts[split] = found = Arrays(computed.get(file) or _kept(file), name=file.name)
        found.fields |= {
            name: found.fields[name]._replace(vocabulary=known.vocabulary)
            for name, known in source.fields.items()
            if name != field
        }
    new = sum(len(arrays[field]) for arrays in computed.values())
    length = sum(len(source) for source in parts.values())
    notes.append(f"features of {length:,} examples, {new:,} of them computed now; kept in {directory}")

    def keep() -> None:
        while computed:
            _write(*computed.popitem())

    return Features(Splits.of(parts, tuple(notes), splits.leakage), keep)


def _kept(file: Path) -> dict[str, np.ndarray]:
    try:
        return load_npz(str(file))
    except UsageError as error:
        raise UsageError(f"{error.message}; remove it, and these features are computed again") from error


def _key(network: keras.Model, source: Source, field: str) -> str:
    # Without the seeds of initialisers, since the weights themselves are hashed, and the numbers in Keras's names.
    built = re.sub(r'_[0-9]+"', '"', json.dumps(_seedless(json.loads(network.to_json()))))
    known = hashlib.sha256(repr((built, field, len(source), sorted(source.fields.items()))).encode())
    for weight in network.weights:
        known.update(unlocked.content(keras.ops.convert_to_numpy(weight)))
        progressed()
    # The code of a subclassed model or a SavedModel is in no configuration, so the outputs of two examples are hashed.
    first = source.read(tf.range(min(len(source), 2), dtype=tf.int64))[field]
    known.update(unlocked.content(keras.ops.convert_to_numpy(network(first, training=False))))
    count = len(source) if size_of(source) <= RESIDENT_BYTES else min(_SAMPLES, len(source))
    samples = np.unique(np.linspace(0, len(source) - 1, count).astype(np.int64))
    for batch in _batches(source.read, samples, _SAMPLES):
        for _, values in sorted(batch.items()):
            known.update(unlocked.content(values.numpy()))
    return known.hexdigest()[:16]


def _seedless(config: Any) -> Any:
    if isinstance(config, dict):
        return {name: _seedless(value) for name, value in config.items() if name != "seed"}
    return [_seedless(value) for value in config] if isinstance(config, list) else config


def _outputs(network: keras.Model, source: Source, field: str, batch_size: int) -> dict[str, np.ndarray]:
    def read(indices: tf.Tensor) -> Batch:
        batch = dict(source.read(indices))
        return batch | {field: tf.cast(network(batch[field], training=False), tf.float32)}

    batches = [
        {name: values.numpy() for name, values in batch.items()}
        for batch in _batches(tf.function(read), np.arange(len(source)), batch_size)
    ]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _batches(read: Callable[[tf.Tensor], Batch], indices: np.ndarray, size: int) -> Iterator[Batch]:
    for first in range(0, len(indices), size):
        batch = read(tf.constant(indices[first : first + size]))
        progressed()
        yield batch


def _write(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(file) as written, counted_files.writer(written) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
