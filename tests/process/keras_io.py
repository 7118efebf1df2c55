"""Models of the kinds that keras.io shows, small, as a user of Keras would write them: nothing here knows of Convoy.

tests/process/test_keras_io.py puts this file into a user's folder.
"""

import keras
import numpy as np
from keras import layers, ops

CLASSES, SIZE, WORDS, LENGTH, NODES = 3, 16, 20, 8, 6


def _random(examples):
    return np.random.default_rng(examples)


def pictures(examples):
    """Stripes of as many widths as there are classes."""
    random = _random(examples)
    y = random.integers(0, CLASSES, examples)
    stripes = np.sin(np.arange(SIZE) * (y[:, None] + 1.0))[:, :, None, None]
    x = 0.5 + 0.4 * stripes + 0.1 * random.normal(size=(examples, SIZE, SIZE, 3))
    return {"x": x.astype(np.float32), "y": y}


def outlines(examples):
    """Pictures whose bright pixels are to be found."""
    x = pictures(examples)["x"]
    return {"x": x, "y": (x.mean(axis=-1) > 0.5).astype(np.int64)}


def originals(examples):
    return {"x": pictures(examples)["x"]}


def sentences(examples):
    """Words, of which some are padding; the class is the first word's."""
    random = _random(examples)
    x = random.integers(1, WORDS, (examples, LENGTH))
    x[np.arange(LENGTH) >= random.integers(3, LENGTH + 1, examples)[:, None]] = 0
    return {"x": x, "y": x[:, 0] % CLASSES}


def translations(examples):
    """The target is the source, reversed; the decoder is given it, one word late."""
    source = _random(examples).integers(1, WORDS, (examples, LENGTH))
    target = source[:, ::-1]
    return {"source": source, "before": np.pad(target[:, :-1], ((0, 0), (1, 0))), "y": target.copy()}


def pairs(examples):
    """Two pictures, and whether they are of one class."""
    first, second = pictures(examples), pictures(examples + 1)
    same = first["y"] == second["y"][:examples]
    return {"left": first["x"], "right": second["x"][:examples], "y": same.astype(np.float32)[:, None]}


def waves(examples):
    """A wave, and the same one step later."""
    random = _random(examples)
    phase, speed = random.uniform(0, 6, (examples, 1)), random.uniform(0.3, 0.6, (examples, 1))
    wave = np.sin(phase + speed * np.arange(33)).astype(np.float32)[..., None]
    return {"x": wave[:, :-1], "y": wave[:, 1:]}


def graphs(examples):
    """Nodes with features, and edges between them; the class is that of the first node's neighbour."""
    random = _random(examples)
    nodes = random.normal(size=(examples, NODES, 4)).astype(np.float32)
    edges = random.integers(0, NODES, (examples, 10, 2))
    return {"nodes": nodes, "edges": edges, "y": (nodes[np.arange(examples), edges[:, 0, 0], 0] > 0).astype(np.int64)}


def resnet():
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    for filters in (8, 16):
        shortcut = layers.Conv2D(filters, 1, strides=2, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.add([shortcut, layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)])
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def densenet():
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same")(x)
    for _ in range(3):
        new = layers.Conv2D(4, 3, padding="same")(layers.Activation("relu")(layers.BatchNormalization()(x)))
        x = layers.Concatenate()([x, layers.Dropout(0.1)(new)])
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


class Positions(layers.Layer):
    """Adds a learned vector to each token."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="random_normal", name="table")

    def call(self, tokens):
        return tokens + self.table


def _block(x, heads=2, width=16):
    normed = layers.LayerNormalization()(x)
    x = layers.add([x, layers.MultiHeadAttention(heads, width // heads, dropout=0.1)(normed, normed)])
    wide = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization()(x))
    return layers.add([x, layers.Dropout(0.1)(layers.Dense(width)(wide))])


def vit():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Reshape((-1, 16))(layers.Conv2D(16, 4, strides=4)(layers.RandomFlip("horizontal")(inputs)))
    x = _block(_block(Positions()(x)))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(layers.LayerNormalization()(x))))


def mixer():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Reshape((16, 16))(layers.Conv2D(16, 4, strides=4)(inputs))
    for _ in range(2):
        mixed = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        x = layers.add([x, layers.Permute((2, 1))(layers.Dense(16, activation="gelu")(mixed))])
        x = layers.add([x, layers.Dense(16, activation="gelu")(layers.LayerNormalization()(x))])
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))


def unet():
    inputs = keras.Input((SIZE, SIZE, 3))
    wide = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    deep = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(wide))
    deep = layers.BatchNormalization()(deep)
    up = layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(deep)
    return keras.Model(inputs, layers.Conv2D(2, 1)(layers.concatenate([wide, up])))


def autoencoder():
    return keras.Sequential([
        keras.Input((SIZE, SIZE, 3)), layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
        layers.BatchNormalization(), layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
    ])  # fmt: skip


def encoder():
    inputs = keras.Input((LENGTH,), dtype="int64")
    x = Positions()(layers.Embedding(WORDS, 16)(inputs))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(_block(x))))


def tagger():
    """Recurrent, with a mask from its embedding."""
    inputs = keras.Input((LENGTH,), dtype="int64")
    x = layers.Bidirectional(layers.GRU(12))(layers.Embedding(WORDS, 8, mask_zero=True)(inputs))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


class Seq2Seq(keras.Model):
    """Reads a sentence, and writes another one."""

    def __init__(self):
        super().__init__()
        self.words = layers.Embedding(WORDS, 16)
        self.reader, self.writer = layers.LSTM(32, return_state=True), layers.LSTM(32, return_sequences=True)
        self.attention, self.head = layers.Attention(), layers.Dense(WORDS)

    def call(self, inputs, training=False):
        source = self.words(inputs["source"])
        _, *state = self.reader(source, training=training)
        written = self.writer(self.words(inputs["before"]), initial_state=state, training=training)
        found = self.attention([written, ops.pad(source, ((0, 0), (0, 0), (0, 16)))])
        return self.head(ops.concatenate([written, found], axis=-1))


def siamese():
    look = keras.Sequential([
        layers.Conv2D(8, 3, strides=2, activation="relu"), layers.BatchNormalization(), layers.GlobalAveragePooling2D(),
        layers.Dense(8),
    ])  # fmt: skip
    sides = {name: keras.Input((SIZE, SIZE, 3), name=name) for name in ("left", "right")}
    apart = layers.Lambda(lambda both: ops.abs(both[0] - both[1]))([look(side) for side in sides.values()])
    return keras.Model(sides, layers.Dense(1, activation="sigmoid")(apart))


def wavenet():
    x = inputs = keras.Input((32, 1))
    skips = []
    x = layers.Conv1D(8, 2, padding="causal")(x)
    for rate in (1, 2, 4):
        both = [layers.Conv1D(8, 2, padding="causal", dilation_rate=rate, activation=a)(x) for a in ("tanh", "sigmoid")]
        skips.append(layers.Conv1D(8, 1)(layers.multiply(both)))
        x = layers.add([x, skips[-1]])
    return keras.Model(inputs, layers.Conv1D(1, 1)(layers.ReLU()(layers.add(skips))))


class Messages(layers.Layer):
    """Each node adds up what its neighbours send along the edges."""

    def __init__(self, width):
        super().__init__()
        self.send, self.take = layers.Dense(width, activation="relu"), layers.Dense(width)

    def call(self, nodes, edges):
        sent = ops.take_along_axis(self.send(nodes), edges[..., :1], axis=1)
        arrived = ops.einsum("nev,nef->nvf", ops.one_hot(edges[..., 1], NODES, dtype=sent.dtype), sent)
        return self.take(ops.concatenate([nodes, arrived], axis=-1))


class Graph(keras.Model):
    def __init__(self):
        super().__init__()
        self.messages, self.norm, self.head = [Messages(8), Messages(8)], layers.LayerNormalization(), layers.Dense(2)

    def call(self, inputs):
        x = inputs["nodes"]
        for each in self.messages:
            x = each(x, inputs["edges"])
        return self.head(ops.mean(self.norm(x), axis=1))


# Name -> (model, data, fields of the input, field of the target, loss).
MODELS = {
    "autoencoder": (autoencoder, originals, "x", "x", keras.losses.MeanSquaredError),
    "densenet": (densenet, pictures, "x", "y", "logits"),
    "encoder": (encoder, sentences, "x", "y", "logits"),
    "graph": (Graph, graphs, ["nodes", "edges"], "y", "logits"),
    "mixer": (mixer, pictures, "x", "y", "logits"),
    "resnet": (resnet, pictures, "x", "y", "logits"),
    "seq2seq": (Seq2Seq, translations, ["source", "before"], "y", "logits"),
    "siamese": (siamese, pairs, ["left", "right"], "y", keras.losses.BinaryCrossentropy),
    "tagger": (tagger, sentences, "x", "y", "logits"),
    "unet": (unet, outlines, "x", "y", "logits"),
    "vit": (vit, pictures, "x", "y", "logits"),
    "wavenet": (wavenet, waves, "x", "y", keras.losses.MeanSquaredError),
}


def loss(name):
    kind = MODELS[name][-1]
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True) if kind == "logits" else kind()
