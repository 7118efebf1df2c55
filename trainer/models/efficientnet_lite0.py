"""EfficientNet-lite0, a small network for images: 4.7 million weights with its classifier.

Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (2019); the lite variants (Google,
2020) have no squeeze-and-excitation, and ReLU6 instead of swish. Pretrained weights are not included:
gin/pretrained/efficientnet_lite0.gin tells a warm start where to find them.
"""

import keras
from keras import layers

NAME = "efficientnet_lite0"
# Of each stage: kernel, stride of its first block, expansion, output channels, blocks.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def efficientnet_lite0(outputs: int | None = 1000) -> keras.Model:
    """Returns the network with random weights.

    Its layers are called conv_stem, block0_depthwise_conv … block15_project_conv, conv_head and fc, below NAME.

    Args:
      outputs: number of logits; None: without the classifier.

    Input: images [n, height, width, 3] of any size and dtype, from 0 to 255. Output: logits float32 [n, outputs];
    without the classifier, features [n, height / 32, width / 32, 1280], rounded up.
    """
    images = keras.Input((None, None, 3))
    with keras.name_scope(NAME):
        x = layers.Rescaling(1 / 128, offset=-127 / 128)(images)
        x = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="conv_stem")(x)
        x = _normalized(x, "bn0")
        number = 0
        for kernel, stride, expansion, channels, blocks in _STAGES:
            for i in range(blocks):
                x = _block(x, f"block{number}", kernel, stride if i == 0 else 1, expansion, channels)
                number += 1
        x = layers.Conv2D(1280, 1, use_bias=False, name="conv_head")(x)
        x = _normalized(x, "bn1")
        if outputs is not None:
            x = layers.GlobalAveragePooling2D()(x)
            x = layers.Dropout(0.2)(x)
            x = layers.Dense(outputs, dtype="float32", name="fc")(x)
    return keras.Model(images, x, name=NAME)


def _block(
    x: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, channels: int
) -> keras.KerasTensor:
    """An inverted residual block: expand channels, depthwise convolution, project to fewer channels, add the input."""
    came = x
    if expansion > 1:
        x = layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _normalized(x, f"{name}_bn0")
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)  # fmt: skip
    x = _normalized(x, f"{name}_bn1")
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn2")(x)
    return layers.Add(name=f"{name}_add")([came, x]) if x.shape[-1] == came.shape[-1] and stride == 1 else x


def _normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(6.0, name=f"{name}_relu")(layers.BatchNormalization(epsilon=1e-3, name=name)(x))
