"""A variational autoencoder (Kingma and Welling 2013, https://arxiv.org/abs/1312.6114) for images stored as bytes."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from trainer.errors import UsageError
from trainer.tasks.images import shape_of_bytes
from trainer.tasks.protocol import Loss, Objective, Parts, penalties


class Vae:
    """Minimises, in nats an image: reconstruction (cross-entropy of each pixel as a shade of grey) + KL divergence.

    Args:
      encoder: latent -> a model from images float32 [n, height, width, channels] in 0..1 to [n, 2 * latent]: means, and
        logarithms of variances.
      decoder: (latent, shape) -> a model from [n, latent] to the logits of such images.
      optimizer: makes the Keras optimizer.
      latent: how many latent numbers an image has.
      x: the field of the images.
    """

    def __init__(self, encoder: Callable, decoder: Callable, optimizer: Callable, latent: int = 2, x: str = "x"):
        if latent < 1:
            raise UsageError(f"Vae.latent = {latent}: give a number of at least 1")
        self._make_encoder, self._make_decoder, self._make_optimizer = encoder, decoder, optimizer
        self._latent, self._x = latent, x

    def build(self, fields):
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

    def _images(self, batch):
        images = tf.cast(batch[self._x], tf.float32) / 255.0
        return tf.reshape(images, (-1, *self._shape))

    def _code(self, images, training):
        code = tf.cast(self.encoder(images, training=training), tf.float32)
        return code[:, : self._latent], code[:, self._latent :]

    def _parts(self, images, mean, log_variance, logits):
        """Reconstruction and divergence, each [n] in nats."""
        pixels = tf.nn.sigmoid_cross_entropy_with_logits(images, tf.cast(logits, tf.float32))
        divergence = 0.5 * (tf.square(mean) + tf.exp(log_variance) - 1.0 - log_variance)
        return tf.reduce_sum(pixels, axis=(1, 2, 3)), tf.reduce_sum(divergence, axis=1)

    def losses(self, batch, seed):
        images = self._images(batch)
        mean, log_variance = self._code(images, training=True)
        noise = tf.random.stateless_normal(tf.shape(mean), seed)
        logits = self.decoder(mean + tf.exp(0.5 * log_variance) * noise, training=True)
        reconstruction, divergence = self._parts(images, mean, log_variance, logits)
        outputs = {"reconstruction": reconstruction, "divergence": divergence}
        return {"loss": self._loss(batch, outputs)}, outputs

    def _loss(self, batch, outputs):
        values = (outputs["reconstruction"] + outputs["divergence"]) * batch["valid"]
        return Loss(values, batch["valid"], penalties(self.encoder, self.decoder))

    def outputs(self, batch):
        """'mean' and 'log_variance' [n, latent]; 'reconstruction' and 'divergence' [n] in nats.

        The reconstruction is of one code an image, drawn by the number of the example: equal at each evaluation.
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

    def evaluate(self, batch, outputs):
        return {"loss": self._loss(batch, outputs)}

    def metrics(self):
        return {name: keras.metrics.Mean(name) for name in ("reconstruction", "divergence")}

    def update(self, metrics, batch, outputs):
        for name, metric in metrics.items():
            metric.update_state(outputs[name], sample_weight=batch["valid"])

    def samples(self, batch, seed):
        """'prior': of random codes. 'reconstructed': data above, what came of it below. 'plane': two latent numbers."""
        random = tf.random.stateless_normal((64, self._latent), seed)
        images = self._images(batch)[:16]
        again = tf.sigmoid(self.decoder(self._code(images, training=False)[0], training=False))
        # The quantiles of a normal distribution: equal steps in probability.
        steps = tf.cast(tf.math.ndtri(tf.linspace(0.03, 0.97, 16)), tf.float32)
        plane = tf.reshape(tf.stack(tf.meshgrid(steps, steps, indexing="xy"), axis=-1), (-1, 2))
        plane = tf.pad(plane, [[0, 0], [0, self._latent - 2]]) if self._latent >= 2 else steps[:, None]
        return {
            "images/prior": tf.sigmoid(self.decoder(random, training=False)),
            "images/reconstructed": tf.concat([images, again], axis=1),
            "images/plane": tf.sigmoid(self.decoder(plane, training=False)),
        }
