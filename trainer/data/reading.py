"""What is wrong with examples that could not be read: the one sentence that tells it."""

import re

import tensorflow as tf

from trainer.data.source import Source
from trainer.errors import TrainingError

# What TensorFlow's messages hold beside the sentence: names of operations, and the frames that made them.
_NOISE = re.compile(
    r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:[^\]]*\](?: name: )?|^Graph execution error:|^Detected at .*|^  File .*"
    r"|Name: <unknown>, |assertion failed: \[([^\]]*)\]",
    re.MULTILINE,
)


def unreadable(source: Source, indices: tf.Tensor, name: str = "the data") -> str | None:
    """What is wrong with some examples of which one could not be read in a graph; None if all can be read now.

    Outside of a graph a source knows which of them it reads, and can raise a TrainingError that names the file.

    Args:
      name: of a source that does not.
    """
    try:
        source.read(indices)
    except TrainingError as error:
        return error.message
    except tf.errors.OpError as error:
        return f"{name}: an example cannot be read: {essence(error)}"
    return None


def essence(error: tf.errors.OpError) -> str:
    """The sentence of a TensorFlow error that says what is wrong, without operations and where they were made."""
    return " ".join(_NOISE.sub(r"\1", error.message).split()).rstrip(".")
