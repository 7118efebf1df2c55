"""Words begin with vectors that others have trained: where a model of words starts from."""

from collections.abc import Mapping

import keras

from trainer import keras_internals
from trainer.data import vectors
from trainer.data.source import Field
from trainer.errors import UsageError
from trainer.tasks.protocol import Parts


class WordVectors:
    """Takes the vectors of the words of a vocabulary from a file; what is not in there keeps the vector it was drawn.

    Args:
      path: a file of word vectors; see trainer.data.vectors.load for its forms.
      layer: name of the layers.Embedding.
      field: the field whose vocabulary is meant.
      model: which of the task's models is meant, as its checkpoints call it.
    """

    def __init__(self, path: str, layer: str = "embedding", field: str = "x", model: str = "model"):
        self._path, self._layer, self._field, self._model = path, layer, field, model

    def __call__(self, parts: Parts, fields: Mapping[str, Field]) -> str:
        """Assigns the vectors; returns what was done, for a person.

        Raises:
          UsageError: there is no such layer, the data has no vocabulary or one of another size, or of the file what
            trainer.data.vectors.load raises.
        """
        table = embeddings(parts, self._model, self._layer)
        words = vocabulary(fields, self._field)
        if len(words) > table.shape[0]:
            raise UsageError(
                f"the vocabulary of '{self._field}' has {len(words):,} words, the layer '{self._layer}' room for "
                f"{table.shape[0]:,}: correct one of them"
            )
        found, known = vectors.load(self._path, words, table.shape[1])
        values = keras.ops.convert_to_numpy(table).copy()
        values[: len(words)][known] = found[known]
        table.assign(values)
        return f"{known.sum():,} of {len(words):,} words have a vector in {self._path}"


def embeddings(parts: Parts, model: str, layer: str) -> keras.Variable:
    """The vectors [words, width] of a layers.Embedding. Raises UsageError if there is none of that name."""
    if model not in parts.models:
        raise UsageError(f"there is no model '{model}': the task has: {', '.join(sorted(parts.models))}")
    found = {
        each.name: each
        for each in keras_internals.leaf_layers([parts.models[model]])
        if isinstance(each, keras.layers.Embedding)
    }
    if layer not in found:
        raise UsageError(f"no layers.Embedding is called '{layer}'; the model has: {', '.join(found) or 'none'}")
    return found[layer].embeddings


def vocabulary(fields: Mapping[str, Field], name: str) -> tuple[str, ...]:
    """What the numbers of a field stand for. Raises UsageError if nothing is known of that."""
    if name not in fields or not fields[name].vocabulary:
        raise UsageError(f"the data has no field '{name}' with a vocabulary: text.labelled with text.Words makes one")
    return fields[name].vocabulary
