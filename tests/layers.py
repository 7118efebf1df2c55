"""What training comes to with each layer of Keras on a number of devices: python tests/layers.py REPLICAS OUT.npz NAME...

Each is a model of one layer and a classifier behind it, trained for two steps of two shards. OUT holds 'NAME/quantity'.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import examples
import keras
import numpy as np
from keras import layers

from trainer.distributed import strategies

N = 16
RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(size=(N, 6)).astype(np.float32)
SEQUENCES = RANDOM.normal(size=(N, 5, 4)).astype(np.float32)
MOVIES = RANDOM.normal(size=(N, 3, 6, 2)).astype(np.float32)
IMAGES = RANDOM.uniform(0, 255, size=(N, 8, 8, 3)).astype(np.float32)
VOLUMES = RANDOM.normal(size=(N, 5, 5, 5, 2)).astype(np.float32)
CLIPS, SCENES = (RANDOM.normal(size=(N, 2, *([5] * d), 2)).astype(np.float32) for d in (2, 3))
WORDS = RANDOM.integers(0, 7, (N, 5))


def attention(make):
    """A layer of several inputs, as one of a sequence."""

    class Itself(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = make()

        def build(self, shape):
            self.inner.build(*([shape] * 2)) if isinstance(self.inner, OF_TWO) else self.inner.build([shape] * 2)

        def call(self, x):
            return self.inner(x, x) if isinstance(self.inner, OF_TWO) else self.inner([x, x])

    return Itself()


OF_TWO = (layers.MultiHeadAttention, layers.GroupQueryAttention)

# Name -> (input, makes the layer): every layer with weights, state or random numbers.
LAYERS = {
    "AdditiveAttention": (SEQUENCES, lambda: attention(layers.AdditiveAttention)),
    "AlphaDropout": (VECTORS, lambda: layers.AlphaDropout(0.3)),
    "Attention": (SEQUENCES, lambda: attention(lambda: layers.Attention(use_scale=True, dropout=0.3))),
    "BatchNormalization": (VECTORS, layers.BatchNormalization),
    "Bidirectional": (SEQUENCES, lambda: layers.Bidirectional(layers.LSTM(3, dropout=0.2))),
    "Conv1D": (SEQUENCES, lambda: layers.Conv1D(3, 2)),
    "Conv1DTranspose": (SEQUENCES, lambda: layers.Conv1DTranspose(3, 2)),
    "Conv2D": (IMAGES, lambda: layers.Conv2D(3, 3)),
    "Conv2DTranspose": (IMAGES, lambda: layers.Conv2DTranspose(3, 3)),
    "Conv3D": (VOLUMES, lambda: layers.Conv3D(2, 2)),
    "Conv3DTranspose": (VOLUMES, lambda: layers.Conv3DTranspose(2, 2)),
    "ConvLSTM1D": (MOVIES, lambda: layers.ConvLSTM1D(2, 2)),
    "ConvLSTM2D": (CLIPS, lambda: layers.ConvLSTM2D(2, 2)),
    "ConvLSTM3D": (SCENES, lambda: layers.ConvLSTM3D(2, 2)),
    "CutMix": (IMAGES, layers.CutMix),
    "Dense": (VECTORS, lambda: layers.Dense(4)),
    "DepthwiseConv1D": (SEQUENCES, lambda: layers.DepthwiseConv1D(2)),
    "DepthwiseConv2D": (IMAGES, lambda: layers.DepthwiseConv2D(2)),
    "Dropout": (VECTORS, lambda: layers.Dropout(0.3)),
    "EinsumDense": (VECTORS, lambda: layers.EinsumDense("ab,bc->ac", 3, bias_axes="c")),
    "Embedding": (WORDS, lambda: layers.Embedding(7, 3)),
    "GRU": (SEQUENCES, lambda: layers.GRU(3, recurrent_dropout=0.2)),
    "GaussianDropout": (VECTORS, lambda: layers.GaussianDropout(0.3)),
    "GaussianNoise": (VECTORS, lambda: layers.GaussianNoise(0.3)),
    "GroupNormalization": (IMAGES, lambda: layers.GroupNormalization(3)),
    "GroupQueryAttention": (SEQUENCES, lambda: attention(lambda: layers.GroupQueryAttention(2, 4, 2, dropout=0.2))),
    "LSTM": (SEQUENCES, lambda: layers.LSTM(3)),
    "LayerNormalization": (VECTORS, layers.LayerNormalization),
    "MixUp": (IMAGES, layers.MixUp),
    "MultiHeadAttention": (SEQUENCES, lambda: attention(lambda: layers.MultiHeadAttention(2, 2, dropout=0.2))),
    "Normalization": (VECTORS, lambda: layers.Normalization(mean=1.0, variance=2.0)),
    "PReLU": (VECTORS, layers.PReLU),
    "RMSNormalization": (VECTORS, layers.RMSNormalization),
    "RNN": (SEQUENCES, lambda: layers.RNN(layers.StackedRNNCells([layers.GRUCell(3), layers.LSTMCell(2)]))),
    "RandAugment": (IMAGES, layers.RandAugment),
    "RandomBrightness": (IMAGES, lambda: layers.RandomBrightness(0.3)),
    "RandomColorDegeneration": (IMAGES, lambda: layers.RandomColorDegeneration(0.3)),
    "RandomColorJitter": (IMAGES, lambda: layers.RandomColorJitter(brightness_factor=0.3, contrast_factor=0.2)),
    "RandomContrast": (IMAGES, lambda: layers.RandomContrast(0.3)),
    "RandomCrop": (IMAGES, lambda: keras.Sequential([layers.RandomCrop(6, 6), layers.Resizing(5, 5)])),
    "RandomElasticTransform": (IMAGES, layers.RandomElasticTransform),
    "RandomErasing": (IMAGES, layers.RandomErasing),
    "RandomFlip": (IMAGES, layers.RandomFlip),
    "RandomGaussianBlur": (IMAGES, layers.RandomGaussianBlur),
    "RandomGrayscale": (IMAGES, layers.RandomGrayscale),
    "RandomHue": (IMAGES, lambda: layers.RandomHue(0.3)),
    "RandomInvert": (IMAGES, layers.RandomInvert),
    "RandomPerspective": (IMAGES, layers.RandomPerspective),
    "RandomPosterization": (IMAGES, lambda: layers.RandomPosterization(3)),
    "RandomRotation": (IMAGES, lambda: layers.RandomRotation(0.2)),
    "RandomSaturation": (IMAGES, lambda: layers.RandomSaturation(0.3)),
    "RandomSharpness": (IMAGES, lambda: layers.RandomSharpness(0.3)),
    "RandomShear": (IMAGES, lambda: layers.RandomShear(0.2, 0.1)),
    "RandomTranslation": (IMAGES, lambda: layers.RandomTranslation(0.2, 0.1)),
    "RandomZoom": (IMAGES, lambda: layers.RandomZoom(0.2)),
    "ReversibleEmbedding": (WORDS, lambda: layers.ReversibleEmbedding(7, 3)),
    "SeparableConv1D": (SEQUENCES, lambda: layers.SeparableConv1D(3, 2)),
    "SeparableConv2D": (IMAGES, lambda: layers.SeparableConv2D(3, 2)),
    "SimpleRNN": (SEQUENCES, lambda: layers.SimpleRNN(3)),
    "SpatialDropout1D": (SEQUENCES, lambda: layers.SpatialDropout1D(0.3)),
    "SpatialDropout2D": (IMAGES, lambda: layers.SpatialDropout2D(0.3)),
    "SpatialDropout3D": (VOLUMES, lambda: layers.SpatialDropout3D(0.3)),
    "SpectralNormalization": (VECTORS, lambda: layers.SpectralNormalization(layers.Dense(4))),
    "TimeDistributed": (SEQUENCES, lambda: layers.TimeDistributed(layers.Dense(3))),
}


def trained(strategy, name):
    x, make = LAYERS[name]

    def network():
        scale = [layers.Rescaling(1 / 255)] if x is IMAGES else []
        return keras.Sequential([make(), *scale, layers.Flatten(), layers.Dense(3)])

    data = {"x": x, "y": np.arange(N) % 3}
    task = examples.classifier(network, lambda: keras.optimizers.SGD(0.05), metrics=[])
    loop, source = examples.new_step(strategy, task, data, batch_size=8, shards=2)
    before = examples.values(loop)
    loop.train(source.open(0).take(2))
    total, count = loop.read().losses["loss"]
    after = examples.values(loop)
    changed = [key for key, value in after.items() if key.startswith("models/") and (value != before[key]).any()]
    return {"loss": np.array(total / count), "changed": np.array(len(changed)), **after}


def main(replicas, out, *names):
    strategy = strategies.default() if replicas == 1 else strategies.mirrored(replicas)
    found = {name: trained(strategy, name) for name in names}
    np.savez(out, **{f"{name}/{key}": value for name, values in found.items() for key, value in values.items()})


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
