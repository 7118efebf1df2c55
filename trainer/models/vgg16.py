"""The convolutions of VGG16 (Simonyan and Zisserman 2014, https://arxiv.org/abs/1409.1556), without its classifier."""

import keras
from keras import layers

# Of each block: number of convolutions, and their filters.
_BLOCKS = {"block1": (2, 64), "block2": (2, 128), "block3": (3, 256), "block4": (3, 512), "block5": (3, 512)}
# Mean blue, green and red of ImageNet's pixels: the weights were trained on BGR images.
_MEANS = [103.939, 116.779, 123.68]


class Vgg16(keras.Model):  # type: ignore[misc]
    """From RGB images [n, height, width, 3], 0 to 255, to activations by layer, after ReLU.

    They are {'block1_conv1': [n, height, width, 64], …, 'block5_conv3': [n, height / 16, width / 16, 512]}. Activations
    that a task does not use are not computed.

    In a file of weights the convolutions are named by block and number, as 'block3/layers/conv2d_1', like those in the
    files that the run files load.
    """

    def __init__(self) -> None:
        super().__init__(name="vgg16")
        channels = 3
        for block, (count, filters) in _BLOCKS.items():
            convolutions = [
                layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{block}_conv{i + 1}")
                for i in range(count)
            ]
            # Keras names the weights in a file by attributes.
            setattr(self, block, keras.Sequential([keras.Input((None, None, channels)), *convolutions], name=block))
            channels = filters
        self.pool = layers.MaxPooling2D(2, padding="same")

    def call(self, images: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
        found: dict[str, keras.KerasTensor] = {}
        features = keras.ops.cast(images, "float32")[..., ::-1] - keras.ops.array(_MEANS)
        for block in _BLOCKS:
            features = self.pool(features) if found else features
            for convolution in getattr(self, block).layers:
                features = found[convolution.name] = convolution(features)
        return found
