"""Small things that tests train: data, models, tasks, and the shortest way from them to a train step."""

import keras
import tensorflow as tf
from keras import layers

from trainer.data.global_permutation import GlobalPermutation
from trainer.data.pipeline import Input, Layout
from trainer.data.sources.arrays import Arrays
from trainer.distributed.collective_wait import CollectiveWait
from trainer.step.arithmetic import Arithmetic
from trainer.step.device_loop import DeviceLoop
from trainer.step.step_state import StepState
from trainer.step.train_step import TrainStep
from trainer.step.values import read_values
from trainer.tasks.protocol import Loss, Objective, Parts
from trainer.tasks.supervised import Supervised


def new_step(
    strategy, task, arrays, batch_size=32, shards=1, seed=1, shuffle=True, xla=False, freezes=(), **arithmetic
):
    """A DeviceLoop and the Input it trains on; a plain graph unless asked otherwise, since XLA takes seconds."""
    keras.utils.clear_session(
        free_memory=False
    )  # layers are numbered from 1 again, so that equal models have equal names
    choices = Arithmetic(shards=shards, xla=xla, **arithmetic)
    choices.prepare_process(seed)
    source = Arrays(arrays)
    layout = Layout(batch_size, shards, strategy.num_replicas_in_sync)
    order = GlobalPermutation(len(source), batch_size, seed if shuffle else None)
    state = StepState(strategy, task, source.fields, choices, seed, freezes)
    loop = DeviceLoop(TrainStep(strategy, state, layout, seed, choices, CollectiveWait(layout.replicas)))
    return loop, Input(source, order, layout, strategy)


def values(loop):
    """Every value that would be saved, by name."""
    return read_values(loop.state)


def classes(module):
    """The names of the classes that a module of Keras has."""
    return sorted(name for name in dir(module) if isinstance(getattr(module, name), type))


def weights(loop):
    """The trained weights of all objectives, by name."""
    return {v.path: v.numpy() for objective in loop.state.parts.objectives for v in objective.variables}


def dense_net(dropout=0.0):
    return keras.Sequential([
        layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(16), layers.BatchNormalization(),
        layers.ReLU(), layers.Dropout(dropout), layers.Dense(10, dtype="float32"),
    ])  # fmt: skip


def conv_net(dropout=0.3):
    """One of everything that could tell replicas apart: BatchNorm, dropout, an L2 regulariser."""
    return keras.Sequential([
        layers.Rescaling(1 / 255), layers.Reshape((28, 28, 1)),
        layers.Conv2D(4, 5, strides=3, kernel_regularizer=keras.regularizers.L2(1e-2)), layers.BatchNormalization(),
        layers.ReLU(), layers.Dropout(dropout), layers.Flatten(), layers.Dense(10, dtype="float32"),
    ])  # fmt: skip


CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")


def classifier(
    model=dense_net, optimizer=lambda: keras.optimizers.SGD(0.1), metrics=None, loss=CROSSENTROPY, **options
):
    """A Supervised task on logits and integer labels, with accuracy as 'accuracy'."""
    if metrics is None:
        metrics = [lambda: keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    return Supervised(model, loss, optimizer, metrics, **options)


class TextAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Accuracy by way of an op that XLA does not have."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        labels = tf.strings.to_number(tf.strings.as_string(y_true), tf.int64)
        return super().update_state(labels, y_pred, sample_weight)


class Autoencoder:
    """Two objectives: a decoder that is stepped every time, and an encoder every `every` steps."""

    def __init__(self, every):
        self._every = every

    def build(self, fields):
        self.encoder = keras.Sequential([layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(8)], name="encoder")
        self.decoder = keras.Sequential([layers.Dense(784)], name="decoder")
        self.decoder(self.encoder(tf.zeros((1, 28, 28))))
        return Parts(
            [
                Objective("code", self.encoder.trainable_variables, keras.optimizers.SGD(0.1), every=self._every),
                Objective("image", self.decoder.trainable_variables, keras.optimizers.SGD(0.5)),
            ],
            {"encoder": self.encoder, "decoder": self.decoder},
        )

    def losses(self, batch, seed):
        x, valid = tf.cast(batch["x"], tf.float32), batch["valid"]
        code = self.encoder(x + 25 * tf.random.stateless_normal(tf.shape(x), seed))
        image = self.decoder(code)
        error = (image - tf.reshape(x / 255, tf.shape(image))) ** 2
        return {
            "code": Loss(tf.reduce_mean(code**2, axis=1) * valid, valid),
            "image": Loss(tf.reduce_mean(error, axis=1) * valid, valid),
        }, image

    def outputs(self, batch):
        return self.decoder(self.encoder(batch["x"]))

    def evaluate(self, batch, outputs):
        return {}

    def metrics(self):
        return {}

    def update(self, metrics, batch, outputs):
        pass
