"""The convolutions of VGG16 (Simonyan and Zisserman 2014, https://arxiv.org/abs/1409.1556): a picture's features."""

import keras
from keras import layers

# How many convolutions, and of how many filters.
_BLOCKS = {"block1": (2, 64), "block2": (2, 128), "block3": (3, 256), "block4": (3, 512), "block5": (3, 512)}
# Of ImageNet's pixels, blue, green and red: the order in which the weights were trained.
_MEANS = [103.939, 116.779, 123.68]


class Vgg16(keras.Model):
    """From RGB images [n, height, width, 3], 0 to 255, to activations by layer, after ReLU.

    They are {'block1_conv1': [n, height, width, 64], …, 'block5_conv3': [n, height / 16, width / 16, 512]}. Those that
    a task does not use are not computed.

    In a file of weights the convolutions are called after block and number, 'block3/layers/conv2d_1', which is where
    the weights that the run files take stand.
    """

    def __init__(self):
        super().__init__(name="vgg16")
        channels = 3
        for block, (count, filters) in _BLOCKS.items():
            convolutions = [
                layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{block}_conv{i + 1}")
                for i in range(count)
            ]
            # Keras names the weights in a file after attributes.
            setattr(self, block, keras.Sequential([keras.Input((None, None, channels)), *convolutions], name=block))
            channels = filters
        self.pool = layers.MaxPooling2D(2, padding="same")

    def call(self, images):
        found, features = {}, keras.ops.cast(images, "float32")[..., ::-1] - keras.ops.array(_MEANS)
        for block in _BLOCKS:
            features = self.pool(features) if found else features
            for convolution in getattr(self, block).layers:
                features = found[convolution.name] = convolution(features)
        return found
