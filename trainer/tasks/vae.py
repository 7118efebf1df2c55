"""A variational autoencoder (Kingma and Welling 2013, https://arxiv.org/abs/1312.6114) for images stored as bytes."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.tasks.images import shape_of_bytes
from trainer.tasks.protocol import Batch, Loss, Objective, Parts, penalties


class Vae:
    """Minimises reconstruction + KL divergence, in nats per image.

    The reconstruction is the sum over pixels of the cross-entropy between grey values in 0..1 and the decoder's logits.

    Args:
      encoder: latent -> a model from images float32 [n, height, width, channels] in 0..1 to [n, 2 * latent]: means, and
        logarithms of variances.
      decoder: (latent, shape) -> a model from [n, latent] to the logits of such images.
      optimizer: makes the Keras optimizer.
      latent: number of latent dimensions.
      x: the field of the images, uint8.

    Raises:
      UsageError: `latent` is below 1.
    """

    def __init__(
        self,
        encoder: Callable[[int], keras.Model],
        decoder: Callable[[int, tuple[int, int, int]], keras.Model],
        optimizer: Callable[[], keras.optimizers.Optimizer],
        latent: int = 2,
        x: str = "x",
    ):
        if latent < 1:
            raise UsageError(f"Vae.latent = {latent}: give a number of at least 1")
        self._make_encoder, self._make_decoder, self._make_optimizer = encoder, decoder, optimizer
        self._latent, self._x = latent, x

    def build(self, fields: Mapping[str, Field]) -> Parts:
        self._shape = shape_of_bytes(fields, self._x)
        self.encoder, self.decoder = self._make_encoder(self._latent), self._make_decoder(self._latent, self._shape)
        image = tf.zeros((1, *self._shape))
        code = self.encoder(image)
        if code.shape != (1, 2 * self._latent):
            raise UsageError(
                f"the encoder puts out {list(code.shape[1:])}: for Vae.latent = {self._latent} it needs "
                f"{2 * self._latent} numbers, means and logarithms of variances"
            )
        found = self.decoder(code[:, : self._latent]).shape
        if found != image.shape:
            raise UsageError(f"the decoder makes images {list(found[1:])} of images {list(self._shape)}: correct it")
        variables = self.encoder.trainable_variables + self.decoder.trainable_variables
        return Parts(
            [Objective("loss", variables, self._make_optimizer())], {"encoder": self.encoder, "decoder": self.decoder}
        )

    def _images(self, batch: Batch) -> tf.Tensor:
        images = tf.cast(batch[self._x], tf.float32) / 255.0
        return tf.reshape(images, (-1, *self._shape))

    def _code(self, images: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        code = tf.cast(self.encoder(images, training=training), tf.float32)
        return code[:, : self._latent], code[:, self._latent :]

    def _parts(
        self, images: tf.Tensor, mean: tf.Tensor, log_variance: tf.Tensor, logits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Reconstruction and divergence, [n] each, in nats."""
        pixels = tf.nn.sigmoid_cross_entropy_with_logits(images, tf.cast(logits, tf.float32))
        divergence = 0.5 * (tf.square(mean) + tf.exp(log_variance) - 1.0 - log_variance)
        return tf.reduce_sum(pixels, axis=(1, 2, 3)), tf.reduce_sum(divergence, axis=1)

    def losses(self, batch: Batch, seed: tf.Tensor) -> tuple[Mapping[str, Loss], tuple[()]]:
        images = self._images(batch)
        mean, log_variance = self._code(images, training=True)
        noise = tf.random.stateless_normal(tf.shape(mean), seed)
        logits = self.decoder(mean + tf.exp(0.5 * log_variance) * noise, training=True)
        reconstruction, divergence = self._parts(images, mean, log_variance, logits)
        return self._additive(batch, reconstruction, divergence), ()

    def _additive(self, batch: Batch, reconstruction: tf.Tensor, divergence: tf.Tensor) -> Mapping[str, Loss]:
        valid, shared = batch["valid"], penalties(batch, self.encoder, self.decoder)
        return {
            "loss": Loss((reconstruction + divergence) * valid, valid, shared),
            "reconstruction": Loss(reconstruction * valid, valid),
            "divergence": Loss(divergence * valid, valid),
        }

    def outputs(self, batch: Batch) -> Mapping[str, tf.Tensor]:
        """'mean' and 'log_variance' [n, latent]; 'reconstruction' and 'divergence' [n], in nats.

        The reconstruction is of one code per image, drawn from the example's id: the same at each evaluation.
        """
        images = self._images(batch)
        mean, log_variance = self._code(images, training=False)
        noise = tf.vectorized_map(
            lambda number: tf.random.stateless_normal((self._latent,), tf.stack([number, np.int64(0)])), batch["id"]
        )
        logits = self.decoder(mean + tf.exp(0.5 * log_variance) * noise, training=False)
        reconstruction, divergence = self._parts(images, mean, log_variance, logits)
        return {
            "mean": mean, "log_variance": log_variance, "reconstruction": reconstruction, "divergence": divergence
        }  # fmt: skip

    def evaluate(self, batch: Batch, outputs: Mapping[str, tf.Tensor]) -> Mapping[str, Loss]:
        return self._additive(batch, outputs["reconstruction"], outputs["divergence"])

    def metrics(self) -> Mapping[str, keras.metrics.Metric]:
        return {}

    def update(self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: Any) -> None:
        """There are none: reconstruction and divergence are shown beside the loss."""

    def samples(self, batch: Batch, seed: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """'prior': decoded random codes. 'reconstructed': data above, reconstructions below. 'plane': latent axes."""
        random = tf.random.stateless_normal((64, self._latent), seed)
        images = self._images(batch)[:16]
        again = tf.sigmoid(self.decoder(self._code(images, training=False)[0], training=False))
        # Quantiles of the normal distribution, equidistant in probability.
        steps = tf.cast(tf.math.ndtri(tf.linspace(0.03, 0.97, 16)), tf.float32)
        plane = tf.reshape(tf.stack(tf.meshgrid(steps, steps, indexing="xy"), axis=-1), (-1, 2))
        plane = tf.pad(plane, [[0, 0], [0, self._latent - 2]]) if self._latent >= 2 else steps[:, None]
        return {
            "images/prior": tf.sigmoid(self.decoder(random, training=False)),
            "images/reconstructed": tf.concat([images, again], axis=1),
            "images/plane": tf.sigmoid(self.decoder(plane, training=False)),
        }
