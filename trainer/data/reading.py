"""What is wrong with examples that could not be read, in one sentence. Reads files only to find that out."""

import re

import tensorflow as tf

from trainer.base.errors import TrainingError
from trainer.data.source import Source

# What TensorFlow's messages contain besides: names of operations, and the frames that made them.
_NOISE = re.compile(
    r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:[^\]]*\](?: name: )?|^Graph execution error:|^Detected at .*|^  File .*"
    r"|Name: <unknown>, |assertion failed: \[([^\]]*)\]",
    re.MULTILINE,
)


def unreadable(source: Source, indices: tf.Tensor, name: str = "the data") -> str | None:
    """Reads examples again that could not be read in a graph; returns what is wrong, or None if all can be read now.

    Outside of a graph a source knows which example it reads, and can raise a TrainingError that names the file.

    Args:
      source: the source.
      indices: int64 [n], the examples.
      name: of the source, for one that raises no TrainingError.
    """
    try:
        source.read(indices)
    except TrainingError as error:
        return error.message
    except tf.errors.OpError as error:
        return f"{name}: an example cannot be read: {essence(error)}"
    return None


def essence(error: tf.errors.OpError) -> str:
    """The part of a TensorFlow error that says what is wrong, without operations and stack frames."""
    said = error.message.split("Traceback (most recent call last)")[0]  # of Python within the graph
    return " ".join(_NOISE.sub(r"\1", said).split()).removeprefix("InvalidArgumentError: ").rstrip(".")
