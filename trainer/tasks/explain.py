"""What a trained classifier looks at: its activations, images that maximise its filters, and which part of a photo
decides (Grad-CAM). The classifier itself is not trained.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.tasks.images import require_photos
from trainer.tasks.picture import shifted, variation
from trainer.tasks.protocol import Batch, Loss, Objective, Parts


class _Seen(NamedTuple):
    """The classifier's results for n photos.

    heat: float32 [n, height, width] in 0..1.  likeliest: int64 [n], the likeliest class.  probability: float32 [n],
    its probability.  answers: [n, height, width, channels], activations of the filters' layer.
    """

    heat: tf.Tensor
    likeliest: tf.Tensor
    probability: tf.Tensor
    answers: tf.Tensor


class FilterImages:
    """The images that are trained: each maximises the activation of one of a layer's first filters.

    Args:
      layer: the layer whose activations are shown, and whose filters the images are made for.
      count: number of filters.
      size: height and width of the images, in pixels.
      variation_weight: weight of the total variation (see trainer.tasks.picture.variation) against the activation.
      jitter: in each step the images are shifted at random by up to this many pixels.

    Raises:
      UsageError: an argument is out of range.
    """

    def __init__(self, layer: str, count: int = 16, size: int = 64, variation_weight: float = 10.0, jitter: int = 4):
        if min(count, size) < 1 or not 0 <= jitter < size:
            raise UsageError(
                f"FilterImages: count = {count}, size = {size}, jitter = {jitter}: give at least 1 of each, and a "
                f"jitter from 0 to less than size"
            )
        self.layer, self.count, self.size = layer, count, size
        self.variation_weight, self.jitter = variation_weight, jitter


class Explain:
    """Looks into a classifier, which is not trained.

    The trained variable is a set of images, one for each of a layer's first filters, whose mean activation is maximised
    (Erhan et al. 2009, "Visualizing higher-layer features of a deep network"). They do not depend on the data; the
    photos are only explained.

    Grad-CAM (Selvaraju et al. 2016, https://arxiv.org/abs/1610.02391) of the likeliest class:

        heat = relu(sum_k a_k A_k),  a_k = the mean over positions of d logit / d A_k,  A_k: channel k of a layer

    Args:
      model: makes the classifier, a functional model from RGB images [n, height, width, 3], 0 to 255, to logits
        [n, classes].
      optimizer: makes the Keras optimizer.
      photos: the fields of the photos.
      heat_layer: the layer of Grad-CAM, usually the last one with spatial dimensions.
      filter_images: makes the settings of the trained images.
      photo_size: height and width that photos are resized to for the classifier, in pixels.

    Raises:
      UsageError: an argument is out of range.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        optimizer: Callable[[], keras.optimizers.Optimizer],
        photos: Sequence[str],
        heat_layer: str,
        filter_images: Callable[[], FilterImages],
        photo_size: int = 224,
    ):
        if photo_size < 1:
            raise UsageError(f"Explain.photo_size = {photo_size}: give at least 1")
        self._make_model, self._make_optimizer, self._photos = model, optimizer, list(photos)
        self._heat_layer, self._photo_size, self._filters = heat_layer, photo_size, filter_images()

    def build(self, fields: Mapping[str, Field]) -> Parts:
        require_photos(fields, self._photos)
        self.model = self._make_model()
        self._inside = keras.Model(
            self.model.inputs,
            {
                "heat": self._output_of(self._heat_layer),
                "filters": self._output_of(self._filters.layer),
                "logits": self.model.outputs[0],
            },
        )
        channels = self._output_of(self._filters.layer).shape[-1]
        if channels < self._filters.count:
            raise UsageError(
                f"FilterImages.count = {self._filters.count}: the layer '{self._filters.layer}' has {channels}"
            )
        size = self._filters.size
        noise = keras.random.normal((self._filters.count, size, size, 3), stddev=0.1)
        self.images = keras.Variable(noise, name="images")
        return Parts(
            [Objective("loss", [self.images], self._make_optimizer())], {"model": self.model}, {"images": self.images}
        )

    def _output_of(self, layer: str) -> keras.KerasTensor:
        try:
            output = self.model.get_layer(layer).output
        except ValueError as error:
            raise UsageError(f"Explain: {error}") from error
        if len(output.shape) != 4:
            raise UsageError(f"Explain: '{layer}' puts out {list(output.shape)}: name a layer of [n, height, width, k]")
        return output

    def _made(self) -> tf.Tensor:
        """The trained images, float32 [count, size, size, 3] in 0..1."""
        return tf.sigmoid(self.images.value)

    def losses(self, batch: Batch, seed: tf.Tensor) -> tuple[Mapping[str, Loss], tuple[()]]:
        images = 255.0 * shifted(self._made(), seed, self._filters.jitter)
        answers = tf.reduce_mean(tf.cast(self._inside(images, training=False)["filters"], tf.float32), axis=(1, 2))
        own = tf.linalg.diag_part(answers[:, : self._filters.count])
        loss = self._filters.variation_weight * tf.reduce_mean(variation(images)) - tf.reduce_mean(own)
        return {"loss": Loss(tf.zeros_like(batch["valid"]), batch["valid"], loss)}, ()

    def _see(self, photos: Batch) -> dict[str, _Seen]:
        """The classifier's results for each photo; in one call, because its graph is large."""
        size = [self._photo_size] * 2
        images = tf.concat([tf.image.resize(photos[name], size, antialias=True) for name in self._photos], axis=0)
        with tf.GradientTape() as tape:
            tape.watch(images)
            found = self._inside(images, training=False)
            likeliest = tf.argmax(found["logits"], axis=-1)
            decided = tf.gather(found["logits"], likeliest, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(decided, found["heat"]), axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(tf.cast(weights * found["heat"], tf.float32), axis=-1, keepdims=True))
        heat = tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True))
        probability = tf.reduce_max(tf.nn.softmax(tf.cast(found["logits"], tf.float32)), axis=-1)
        parts = (tf.split(each, len(self._photos)) for each in (heat, likeliest, probability, found["filters"]))
        return {
            name: _Seen(tf.image.resize(heat, photos[name].shape[1:3])[..., 0], *others)
            for name, heat, *others in zip(self._photos, *parts, strict=True)
        }

    def outputs(self, batch: Batch) -> Mapping[str, tf.Tensor]:
        """For each photo 'NAME_heat' float32 [n, height, width] in 0..1; 'NAME_class' and 'NAME_probability' [n]."""
        found: dict[str, tf.Tensor] = {}
        for name, seen in self._see(batch).items():
            found |= {
                f"{name}_heat": seen.heat,
                f"{name}_class": seen.likeliest,
                f"{name}_probability": seen.probability,
            }
        return found

    def evaluate(self, batch: Batch, outputs: Mapping[str, tf.Tensor]) -> Mapping[str, Loss]:
        return self.losses(batch, tf.constant([0, 0]))[0]

    def metrics(self) -> Mapping[str, keras.metrics.Metric]:
        return {}

    def update(self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: tuple[()]) -> None:
        pass

    def samples(self, batch: Batch, seed: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """'filters': the trained images. For each photo 'NAME': the photo, and its heat from blue to red; and
        'NAME_activations': the filters' activations.
        """
        shown, texts = {"images/filters": self._made()}, []
        photos = {name: tf.cast(batch[name][:1], tf.float32) for name in self._photos}
        for name, (heat, likeliest, probability, answers) in self._see(photos).items():
            colours = tf.stack([heat, 4.0 * heat * (1.0 - heat), 1.0 - heat], axis=-1)
            plain = photos[name] / 255.0
            shown[f"images/{name}"] = tf.concat([plain, 0.5 * (plain + colours)], axis=0)
            shown[f"images/{name}_activations"] = self._activations(answers)
            number, share = tf.strings.as_string(likeliest), tf.strings.as_string(probability, precision=2)
            texts.append(tf.strings.join([name, ": class ", number, ", probability ", share]))
        return {**shown, "text/classes": tf.concat(texts, axis=0)}

    def _activations(self, answers: tf.Tensor) -> tf.Tensor:
        """The activations for one photo, resized like the trained images: [count, size, size, 1], each in 0..1."""
        found = tf.cast(answers, tf.float32)[..., : self._filters.count]
        least, most = (reduce(found, axis=(1, 2), keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
        found = tf.image.resize(tf.math.divide_no_nan(found - least, most - least), [self._filters.size] * 2)
        return tf.transpose(found, (3, 1, 2, 0))
