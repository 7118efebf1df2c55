"""The settings that determine a run's numbers: shards, precision, clipping, averaging, compilation.

Only the settings and what follows from them; train_step.py does the arithmetic.
"""

import dataclasses
from collections.abc import Iterable
from typing import Literal

import keras
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.base.private_keras import leaf_layers

# Layers that XLA compiles well on the CPU. Convolutions and recurrences are faster in oneDNN's kernels there.
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
    """How a step computes. Nothing here depends on the number of replicas.

    Args:
      shards: the global batch is cut into this many microbatches of equal size, the shards. Each shard has its own
        random numbers and batch statistics, and a replica works through its shards one after another (so more shards
        also need less memory). Any number of replicas up to the number of shards gives the same results. None: as many
        as the run may have replicas when it starts; a resumed run keeps its shards.
      precision: a Keras dtype policy. With 'mixed_float16' the loss is scaled, and a step with a gradient that is not
        finite is skipped.
      clip_norm: the gradients of each objective are scaled down to this global norm, if theirs is larger.
      average_decay: keeps an exponential moving average of the weights with this decay per step; evaluation uses it.
        It starts after 16 steps and is updated every 16.
      reduce_dtype: dtype in which gradients travel between replicas; 'bfloat16' halves the traffic.
      xla: compile with XLA. None: decide by the layers and the device (see xla_pays); the run keeps the decision.
      deterministic: enable TensorFlow's op determinism. Needed for bit-identical runs on a GPU and with some ops on
        the CPU.

    Raises:
      UsageError: a value is out of range.
    """

    shards: int | None = None
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    clip_norm: float | None = None
    average_decay: float | None = None
    reduce_dtype: Literal["float32", "bfloat16"] = "float32"
    xla: bool | None = None
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.shards is not None and self.shards < 1:
            raise UsageError(f"Arithmetic.shards = {self.shards}: give a number of at least 1")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UsageError(f"Arithmetic.clip_norm = {self.clip_norm}: give a norm above 0, or None")
        if self.average_decay is not None and not 0 < self.average_decay < 1:
            raise UsageError(f"Arithmetic.average_decay = {self.average_decay}: give a decay between 0 and 1, or None")

    def prepare_process(self, seed: int) -> None:
        """Seeds this process and sets its precision and determinism; call before any model is made."""
        keras.utils.set_random_seed(seed)
        keras.mixed_precision.set_global_policy(self.precision)
        if self.deterministic:
            tf.config.experimental.enable_op_determinism()


def xla_pays(models: Iterable[keras.Model]) -> bool:
    """Whether XLA is likely to be faster for these models: on the CPU, if they have dense and elementwise layers only.

    A rule rather than a measurement, so that a run killed before its first checkpoint decides the same way again.
    """
    if tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"):
        return False
    return all(
        type(layer).__name__ in _DENSE_LAYERS and type(layer).__module__.startswith("keras.")
        for layer in leaf_layers(models)
    )
