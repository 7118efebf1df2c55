"""Pretrained word vectors as a warm start of a model's layers.Embedding. Reads no other weights."""

from collections.abc import Mapping

import keras

from trainer.base import private_keras, unlocked
from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.pretrained import vector_files
from trainer.tasks.protocol import Parts


class WordVectors:
    """Loads the vectors of a vocabulary's words from a file; words that it lacks keep their random vectors.

    Args:
      path: a file of word vectors; for the formats see trainer.pretrained.vector_files.load.
      layer: name of the layers.Embedding.
      field: the field with the vocabulary.
      model: the name of one of the task's models, as in its checkpoints.
    """

    def __init__(self, path: str, layer: str = "embedding", field: str = "x", model: str = "model"):
        self._path, self._layer, self._field, self._model = path, layer, field, model

    def __call__(self, parts: Parts, fields: Mapping[str, Field]) -> str:
        """Assigns the vectors; returns a line for the console.

        Raises:
          UsageError: there is no such layer, the field has no vocabulary, or one that is larger than the layer; or see
            trainer.pretrained.vector_files.load.
        """
        table = embeddings(parts, self._model, self._layer)
        words = vocabulary(fields, self._field)
        if len(words) > table.shape[0]:
            raise UsageError(
                f"the vocabulary of '{self._field}' has {len(words):,} words, the layer '{self._layer}' has room for "
                f"{table.shape[0]:,}: correct one of them"
            )
        found, known = vector_files.load(self._path, words, table.shape[1])
        values = keras.ops.convert_to_numpy(table).copy()
        values[: len(words)][known] = found[known]
        table.assign(unlocked.tensor(values))
        return f"{known.sum():,} of {len(words):,} words have a vector in {self._path}"


def embeddings(parts: Parts, model: str, layer: str) -> keras.Variable:
    """The vectors [words, width] of a layers.Embedding. Raises UsageError if there is no such model or layer."""
    if model not in parts.models:
        raise UsageError(f"there is no model '{model}': the task has: {', '.join(sorted(parts.models))}")
    found = {
        each.name: each
        for each in private_keras.leaf_layers([parts.models[model]])
        if isinstance(each, keras.layers.Embedding)
    }
    if layer not in found:
        raise UsageError(f"no layers.Embedding is called '{layer}'; the model has: {', '.join(found) or 'none'}")
    return found[layer].embeddings


def vocabulary(fields: Mapping[str, Field], name: str) -> tuple[str, ...]:
    """The vocabulary of a field: its words by number. Raises UsageError if it has none."""
    if name not in fields or not fields[name].vocabulary:
        raise UsageError(f"the data has no field '{name}' with a vocabulary: text.labelled with text.Words makes one")
    return fields[name].vocabulary
