"""A small convolutional network, as a subclassed Keras model."""

import keras
from keras import layers


class CNN(keras.Model):  # type: ignore[misc]
    """One convolution, one hidden dense layer, logits.

    Args:
      filters: of the 3x3 convolution (no padding, ReLU).
      hidden: width of the dense layer (ReLU).
      outputs: number of logits.
      scale: the input is multiplied by it; 1/255 for images stored as bytes.

    Input: images of any type, [n, height, width] or [n, height, width, channels]; output float [n, outputs].
    """

    def __init__(self, filters: int = 32, hidden: int = 128, outputs: int = 10, scale: float = 1.0):
        super().__init__(name="cnn")
        self.rescale = layers.Rescaling(scale)
        self.convolution = layers.Conv2D(filters, 3, activation="relu")
        self.flatten = layers.Flatten()
        self.hidden = layers.Dense(hidden, activation="relu")
        self.logits = layers.Dense(outputs, dtype="float32")

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        if len(images.shape) == 3:
            images = images[..., None]
        features = self.convolution(self.rescale(images))
        return self.logits(self.hidden(self.flatten(features)))
