"""The choices that decide a run's numbers: shards, precision, clipping, averaging, compilation.

Only the choices and what they imply; step.py does the arithmetic.
"""

import dataclasses
from typing import Literal

import keras
import tensorflow as tf

from trainer.errors import UsageError
from trainer.keras_internals import leaf_layers

# Layers that XLA compiles well on the CPU. Convolutions and recurrences are quicker in oneDNN's kernels there.
_DENSE_LAYERS = (
    "Activation",
    "Add",
    "AlphaDropout",
    "Average",
    "BatchNormalization",
    "Concatenate",
    "Dense",
    "Dot",
    "Dropout",
    "EinsumDense",
    "ELU",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "LayerNormalization",
    "LeakyReLU",
    "Multiply",
    "Normalization",
    "Permute",
    "PReLU",
    "ReLU",
    "Rescaling",
    "Reshape",
    "RMSNormalization",
    "Softmax",
    "Subtract",
)


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """How a step computes. None of it depends on how many replicas there are.

    Args:
      shards: equal parts the global batch is cut into; each has random numbers and batch statistics of its own, and a
        replica works through its shards one after another (so more shards also means less memory). None: the number
        of replicas the run starts with. Every value up to the shards can then be the number of replicas.
      precision: a Keras dtype policy. With 'mixed_float16' the loss is scaled, and a step with a gradient that is not
        finite is skipped.
      clip_norm: gradients of an objective are scaled down to this global norm, if theirs is larger.
      average_decay: keeps an exponential moving average of the weights with this decay a step, which evaluation uses.
        It starts after 16 steps and is brought up to date every 16.
      reduce_dtype: type in which gradients travel between replicas; 'bfloat16' halves the traffic.
      xla: compile with XLA. None: choose by the layers and the device; the choice is kept for the whole run.
      deterministic: switch TensorFlow's op determinism on. Needed for bit-identical runs on a GPU and with some ops on
        the CPU.

    Raises:
      UsageError: a value that makes no sense.
    """

    shards: int | None = None
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    clip_norm: float | None = None
    average_decay: float | None = None
    reduce_dtype: Literal["float32", "bfloat16"] = "float32"
    xla: bool | None = None
    deterministic: bool = False

    def __post_init__(self):
        if self.shards is not None and self.shards < 1:
            raise UsageError(f"Arithmetic.shards = {self.shards}: give a number of at least 1")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UsageError(f"Arithmetic.clip_norm = {self.clip_norm}: give a norm above 0, or None")
        if self.average_decay is not None and not 0 < self.average_decay < 1:
            raise UsageError(f"Arithmetic.average_decay = {self.average_decay}: give a decay between 0 and 1, or None")

    def prepare_process(self, seed: int) -> None:
        """Seeds and sets this process up; before any model is made."""
        keras.utils.set_random_seed(seed)
        keras.mixed_precision.set_global_policy(self.precision)
        if self.deterministic:
            tf.config.experimental.enable_op_determinism()


def xla_pays(models) -> bool:
    """Whether XLA is likely to be quicker for these models: on the CPU, for small dense ones.

    A rule rather than a measurement, so that a run that is killed before its first checkpoint chooses the same again.
    """
    if tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"):
        return False
    return all(
        type(layer).__name__ in _DENSE_LAYERS and type(layer).__module__.startswith("keras.")
        for layer in leaf_layers(models)
    )
