"""What a trained classifier looks at: its activations, what its filters answer to most, and which part of a photo
decides (Grad-CAM).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from trainer.errors import UsageError
from trainer.tasks.images import require_photos
from trainer.tasks.picture import shifted, variation
from trainer.tasks.protocol import Loss, Objective, Parts


class _Seen(NamedTuple):
    """What the classifier makes of n photos.

    heat: float32 [n, height, width] in 0..1.  likeliest: int64 [n], a class.  probability: float32 [n], its.
    answers: [n, height, width, channels], what the filters' layer puts out.
    """

    heat: tf.Tensor
    likeliest: tf.Tensor
    probability: tf.Tensor
    answers: tf.Tensor


class Explain:
    """Looks into a classifier, which is not trained.

    What is trained are images, one for each of a layer's first filters: the filter's mean activation is maximised
    (Erhan et al. 2009, "Visualizing higher-layer features of a deep network"). They belong to no example; the photos
    are there to be explained.

    Grad-CAM (Selvaraju et al. 2016, https://arxiv.org/abs/1610.02391) of the likeliest class:

        heat = relu(sum_k a_k A_k),  a_k = the mean over places of d logit / d A_k,  A_k: channel k of a layer

    Args:
      model: makes the classifier, a functional model from RGB images [n, height, width, 3], 0 to 255, to logits
        [n, classes].
      optimizer: makes the Keras optimizer.
      photos: the fields of the photos.
      heat_layer: whose channels Grad-CAM weighs, usually the last with places; all of its activations are used.
      filter_layer: whose activations are shown, and whose filters the images are made for.
      filters: how many of them.
      photo_size: height and width that photos are resized to for the classifier.
      filter_size: height and width of the images that are trained.
      variation_weight: how much the mean distance between neighbouring pixels counts against a filter's activation, of
        255.
      jitter: the images are shifted by up to so many pixels, at random, from step to step.
    """

    def __init__(
        self,
        model: Callable,
        optimizer: Callable,
        photos: Sequence[str],
        heat_layer: str,
        filter_layer: str,
        filters: int = 16,
        photo_size: int = 224,
        filter_size: int = 64,
        variation_weight: float = 10.0,
        jitter: int = 4,
    ):
        if min(filters, photo_size, filter_size) < 1 or not 0 <= jitter < filter_size:
            raise UsageError(
                f"Explain: filters = {filters}, photo_size = {photo_size}, filter_size = {filter_size}, jitter = "
                f"{jitter}: give at least 1 of each, and a jitter from 0 to less than filter_size"
            )
        self._make_model, self._make_optimizer, self._photos = model, optimizer, list(photos)
        self._heat_layer, self._filter_layer, self._filters = heat_layer, filter_layer, filters
        self._photo_size, self._filter_size = photo_size, filter_size
        self._variation_weight, self._jitter = variation_weight, jitter

    def build(self, fields):
        require_photos(fields, self._photos)
        self.model = self._make_model()
        self._inside = keras.Model(
            self.model.inputs,
            {
                "heat": self._output_of(self._heat_layer),
                "filters": self._output_of(self._filter_layer),
                "logits": self.model.outputs[0],
            },
        )
        channels = self._output_of(self._filter_layer).shape[-1]
        if channels < self._filters:
            raise UsageError(f"Explain.filters = {self._filters}: the layer '{self._filter_layer}' has {channels}")
        size = self._filter_size
        noise = keras.random.normal((self._filters, size, size, 3), stddev=0.1)
        self.images = keras.Variable(noise, name="images")
        return Parts(
            [Objective("loss", [self.images], self._make_optimizer())], {"model": self.model}, {"images": self.images}
        )

    def _output_of(self, layer):
        try:
            output = self.model.get_layer(layer).output
        except ValueError as error:
            raise UsageError(f"Explain: {error}") from error
        if len(output.shape) != 4:
            raise UsageError(f"Explain: '{layer}' puts out {list(output.shape)}: name a layer with places and channels")
        return output

    def _made(self):
        """The images that are trained, in 0..1."""
        return tf.sigmoid(self.images.value)

    def losses(self, batch, seed):
        images = 255.0 * shifted(self._made(), seed, self._jitter)
        answers = tf.reduce_mean(tf.cast(self._inside(images, training=False)["filters"], tf.float32), axis=(1, 2))
        own = tf.linalg.diag_part(answers[:, : self._filters])
        loss = self._variation_weight * tf.reduce_mean(variation(images)) - tf.reduce_mean(own)
        return {"loss": Loss(tf.zeros_like(batch["valid"]), batch["valid"], loss)}, ()

    def _see(self, photos):
        """What the classifier makes of each of the photos, which it is given together: its graph is large."""
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

    def outputs(self, batch):
        """Of each photo 'NAME_heat' float32 [n, height, width] in 0..1; 'NAME_class' and 'NAME_probability' [n]."""
        found = {}
        for name, seen in self._see(batch).items():
            found |= {
                f"{name}_heat": seen.heat,
                f"{name}_class": seen.likeliest,
                f"{name}_probability": seen.probability,
            }
        return found

    def evaluate(self, batch, outputs):
        return self.losses(batch, tf.constant([0, 0]))[0]

    def metrics(self):
        return {}

    def update(self, metrics, batch, outputs):
        pass

    def samples(self, batch, seed):
        """'filters': what each filter answers to most. Of each photo 'NAME': itself, and its heat, from blue to red;
        and 'NAME_activations': those filters' answers to it.
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

    def _activations(self, answers):
        """Of the answers to one photo, as large as the trained images: [filters, height, width, 1], each 0 to 1."""
        found = tf.cast(answers, tf.float32)[..., : self._filters]
        least, most = (reduce(found, axis=(1, 2), keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
        found = tf.image.resize(tf.math.divide_no_nan(found - least, most - least), [self._filter_size] * 2)
        return tf.transpose(found, (3, 1, 2, 0))
