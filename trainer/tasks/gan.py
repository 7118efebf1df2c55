"""Generative adversarial networks (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661) for images stored as bytes.

The networks themselves are models, such as trainer/models/dcgan.py.
"""

from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.tasks.images import shape_of_bytes
from trainer.tasks.protocol import Batch, Loss, Objective, Parts, penalties


class Gan:
    """Two objectives in one step: the discriminator tells real images from generated ones, the generator deceives it.

    Both gradients are taken at the same weights. The generator's loss is the paper's non-saturating one.

    Args:
      generator: (noise, shape) -> a model from [n, noise] to images float32 [n, height, width, channels] in -1..1.
      discriminator: shape -> a model from such images to logits [n, 1].
      generator_optimizer, discriminator_optimizer: make the Keras optimizers.
      noise: number of random numbers per image.
      penalty: weight of the R1 gradient penalty on real images (Mescheder et al. 2018,
        https://arxiv.org/abs/1801.04406); 0: none.
      x: the field of the images, uint8.

    Raises:
      UsageError: an argument is out of range.
    """

    def __init__(
        self,
        generator: Callable[[int, tuple[int, int, int]], keras.Model],
        discriminator: Callable[[tuple[int, int, int]], keras.Model],
        generator_optimizer: Callable[[], keras.optimizers.Optimizer],
        discriminator_optimizer: Callable[[], keras.optimizers.Optimizer],
        noise: int = 100,
        penalty: float = 0.0,
        x: str = "x",
    ):
        if noise < 1 or penalty < 0:
            raise UsageError(
                f"Gan: noise = {noise}, penalty = {penalty}: give a noise of at least 1, and a penalty of at least 0"
            )
        self._makers = generator, discriminator, generator_optimizer, discriminator_optimizer
        self._noise, self._penalty, self._x = noise, penalty, x

    def build(self, fields: Mapping[str, Field]) -> Parts:
        self._shape = shape_of_bytes(fields, self._x)
        generator, discriminator, generator_optimizer, discriminator_optimizer = self._makers
        self.generator, self.discriminator = generator(self._noise, self._shape), discriminator(self._shape)
        made = self.generator(tf.zeros((1, self._noise)))
        if made.shape != (1, *self._shape):
            raise UsageError(
                f"the generator makes images {list(made.shape[1:])} for images {list(self._shape)}: correct it"
            )
        if self.discriminator(made).shape != (1, 1):
            raise UsageError(
                f"the discriminator puts out {list(self.discriminator(made).shape[1:])}: it needs one logit"
            )
        return Parts(
            [
                Objective("discriminator", self.discriminator.trainable_variables, discriminator_optimizer()),
                Objective("generator", self.generator.trainable_variables, generator_optimizer()),
            ],
            {"generator": self.generator, "discriminator": self.discriminator},
        )

    def _images(self, batch: Batch) -> tf.Tensor:
        images = tf.cast(batch[self._x], tf.float32) / 127.5 - 1.0
        return tf.reshape(images, (-1, *self._shape))

    def _judged(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.cast(self.discriminator(images, training=training)[:, 0], tf.float32)

    def losses(self, batch: Batch, seed: tf.Tensor) -> tuple[Mapping[str, Loss], Mapping[str, tf.Tensor]]:
        valid, real = batch["valid"], self._images(batch)
        noise = tf.random.stateless_normal((tf.shape(valid)[0], self._noise), seed)
        made = self.generator(noise, training=True)
        with tf.GradientTape() as tape:
            tape.watch(real)
            on_real = self._judged(real, training=True)
        on_made = self._judged(made, training=True)
        discriminator = tf.nn.softplus(-on_real) + tf.nn.softplus(on_made)
        if self._penalty:
            slope = tape.gradient(on_real, real)
            discriminator += 0.5 * self._penalty * tf.reduce_sum(tf.square(slope), axis=(1, 2, 3))
        outputs = {"real": on_real, "made": on_made}
        return {
            "discriminator": Loss(discriminator * valid, valid, penalties(batch, self.discriminator)),
            "generator": Loss(tf.nn.softplus(-on_made) * valid, valid, penalties(batch, self.generator)),
        }, outputs

    def outputs(self, batch: Batch) -> Mapping[str, tf.Tensor]:
        """'real' and 'made' [n]: the logits of the batch's and of generated images; 'image' [n, …]: those, in 0..1."""
        noise = tf.vectorized_map(
            lambda number: tf.random.stateless_normal((self._noise,), tf.stack([number, tf.zeros_like(number)])),
            batch["id"],
        )
        made = tf.cast(self.generator(noise, training=False), tf.float32)
        real, fake = self._judged(self._images(batch), False), self._judged(made, False)
        return {"real": real, "made": fake, "image": (made + 1.0) / 2.0}

    def evaluate(self, batch: Batch, outputs: Mapping[str, tf.Tensor]) -> Mapping[str, Loss]:
        valid = batch["valid"]
        discriminator = tf.nn.softplus(-outputs["real"]) + tf.nn.softplus(outputs["made"])
        return {
            "discriminator": Loss(discriminator * valid, valid, penalties(batch, self.discriminator)),
            "generator": Loss(tf.nn.softplus(-outputs["made"]) * valid, valid, penalties(batch, self.generator)),
        }

    def metrics(self) -> Mapping[str, keras.metrics.Metric]:
        return {name: keras.metrics.Mean(name) for name in ("real_found", "made_found")}

    def update(
        self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: Mapping[str, tf.Tensor]
    ) -> None:
        for name, right in (("real", outputs["real"] > 0), ("made", outputs["made"] < 0)):
            metrics[f"{name}_found"].update_state(tf.cast(right, tf.float32), sample_weight=batch["valid"])

    def samples(self, batch: Batch, seed: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """'made': images generated from the same noise each time, so that they can be compared over time."""
        noise = tf.random.stateless_normal((64, self._noise), seed)
        return {"images/made": (tf.cast(self.generator(noise, training=False), tf.float32) + 1.0) / 2.0}
