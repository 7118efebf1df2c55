"""On real workers: who takes long in any phase is left alone, and who hangs in it is named and ended."""

import os
import re
import signal
import time

import cluster
import pytest
import reading
from running import forever

cluster.require_ray()
pytestmark = [pytest.mark.process, pytest.mark.cluster]

MODULE = '''
"""Data, a task and an action that take long in each phase, or hang in it where a file asks for that."""

import os
import pathlib
import threading
import time

import keras
import numpy as np
import tensorflow as tf
from trainer.actions.action import Action
from trainer.base import liveness
from trainer.data import pipeline
from trainer.data.source import Splits
from trainer.data.sources import arrays

trains = threading.Event()
KINDS = {8: "showing", 16: "checkpoint", 24: "other"}


def pieces(place, number, seconds=0.5, progress=liveness.progressed):
    """Some pieces of work, each of which is progress; a hang, once, where it is asked for."""
    asked = pathlib.Path(os.environ["HANG_IN"]) / place
    for _ in range(number):
        if asked.exists():
            asked.unlink()
            time.sleep(2 * (place == "lock"))  # heartbeats tell of the phase before none are sent
            print("hangs in", place, flush=True)
            if place == "lock":
                sum(range(10**13))
            time.sleep(10_000)
        time.sleep(seconds)
        progress()


def long(place):
    return int(os.environ["PIECES"]) if place in os.environ["LONG"].split() else 1


class Slow(arrays.Arrays):
    def read(self, indices):
        def wait(first):  # of the last steps, so that those before are known
            if first == 440 and len(self) == 480:
                pieces("data", long("data"), progress=lambda: None)

        with tf.control_dependencies([tf.py_function(wait, [tf.reduce_min(indices)], [])]):
            return super().read(tf.identity(indices))


def data():
    pieces("startup", long("startup"))
    pipeline._BLOCK_STEPS = 4  # little is read ahead
    rows = lambda n: {"x": np.arange(n * 4, dtype=np.float32).reshape(n, 4) % 7, "y": np.arange(n) % 2}
    return Splits(train=Slow(rows(480), name="train"), test=arrays.Arrays(rows(40), name="test"))


class Wait(keras.layers.Layer):
    def call(self, x, training=None):
        if training:
            return x
        with tf.control_dependencies([tf.py_function(self.wait, [], [])]):
            return tf.identity(x)

    @staticmethod
    def wait():
        if trains.is_set():  # before, the model is only tried
            pieces("evaluation", 1, float(os.environ["BATCH_SECONDS"]))


def network():
    return keras.Sequential([Wait(), keras.layers.Dense(2)])


class Phases(Action):
    def __init__(self, context):
        self.goodput = context.goodput

    def next_step(self, step):
        return min((at for at in KINDS if at > step), default=1 << 40)

    def due(self, step, report):
        trains.set()
        return step in KINDS

    def __call__(self, report):
        kind = KINDS[report.step]
        with self.goodput.spend(kind):
            if kind == "other":
                if "lock" in os.environ["LONG"].split():
                    sum(range(int(os.environ["LOCKED"])))  # one call in C that keeps the interpreter's lock
                pieces("lock", 1, 0)
            else:
                pieces(kind, long(kind))
        return False
'''

GIN = """
from __gin__ import dynamic_registration

import phases
from trainer import experiment
from trainer.tasks import supervised
from launch.on_ray import cluster
from launch.on_ray import hang_detector

BATCH_SIZE = 10
EPOCHS = 1
LEARNING_RATE = 1e-3
SEED = 1

include 'base.gin'
include 'classifier.gin'

experiment.run:
    data = @phases.data
    shuffle = False
    epochs = %EPOCHS
    more_actions = [@phases.Phases]
CHECKPOINT_EVERY = 4
supervised.Supervised.model = @phases.network
cluster.Cluster.prestart = False
"""
ALL = ("startup", "data", "evaluation", "showing", "checkpoint", "lock")


@pytest.fixture
def start(tmp_path):
    """Starts one worker that takes long, in so many pieces of half a second, in some phases."""
    (tmp_path / "phases.py").write_text(MODULE)
    (tmp_path / "phases.gin").write_text(GIN)
    (tmp_path / "asked").mkdir()
    runs = []

    def start(long=(), pieces=1, seconds=0.0, locked=0, **limits):
        limits = [f"--gin_param=hang_detector.HangLimits.{name} = {value}" for name, value in limits.items()]
        environment = {"HANG_IN": str(tmp_path / "asked"), "LONG": " ".join(long), "PIECES": str(pieces),
                       "BATCH_SECONDS": str(seconds), "LOCKED": str(locked)}  # fmt: skip
        runs.append(cluster.RayRun(tmp_path / "run", "--gin_file=phases.gin", "--launcher=ray", "--strategy=multi_worker",
                                   *limits, cwd=tmp_path, **environment))  # fmt: skip
        return runs[-1]

    yield start
    for run in runs:
        run.end()


def count_for(seconds):
    """How far `sum(range(…))` counts in so many seconds here, roughly."""
    begun = time.perf_counter()
    sum(range(10**7))
    return int(10**7 * seconds / (time.perf_counter() - begun))


def test_who_takes_longer_than_a_step_may_is_left_alone(start, tmp_path):
    """In data, in an evaluation, and while it keeps the interpreter's lock."""
    run = start(("data", "lock"), pieces=14, seconds=2.0, locked=count_for(9), silence=4, step_seconds=5, data=60)
    assert run.wait() == 0, run.output
    report = reading.report(tmp_path / "run")
    assert report["attempts"] == 1 and not run.find("hangs"), run.output
    assert report["goodput"]["evaluation"] > 5 and report["goodput"]["data"] > 5 and report["goodput"]["other"] > 4


@pytest.mark.slow  # of the test above, whose limits are shorter
def test_who_takes_longer_than_its_limit_in_any_phase_and_gets_on_is_left_alone(start, tmp_path):
    run = start(ALL, pieces=70, seconds=9.0, locked=count_for(15), silence=4, step_seconds=8, data=60, slow=30)
    for _ in forever(900):
        if run.process.poll() is not None:
            break
    assert run.wait() == 0, run.output
    report = reading.report(tmp_path / "run")
    assert report["attempts"] == 1 and not run.find("hangs"), run.output
    for kind, seconds in {"evaluation": 30, "showing": 30, "checkpoint": 30, "data": 8, "other": 4}.items():
        assert report["goodput"][kind] > seconds, kind


@pytest.mark.slow  # a hang in a step and one without heartbeats are in test_ray.py
def test_who_hangs_in_any_phase_is_named_and_ended(start, tmp_path):
    for place in ALL:
        (tmp_path / "asked" / place).touch()
    run = start(seconds=0.1, silence=6, step_seconds=8, data=15, slow=40, times=4)
    log = tmp_path / "run/logs/worker_0.log"
    for _ in forever(600):
        if "hangs in lock" in (log.read_text() if log.exists() else "") or run.process.poll() is not None:
            break
    os.kill(run.workers()[0], signal.SIGSTOP)
    assert run.wait() == 0, run.output
    named = [re.search("in phase (\\w+)", line)[1] for line in run.out if ": ended; its stack is in" in line]
    assert sorted(named) == sorted(["startup", "data", "evaluation", "showing", "checkpoint", "other"]), run.output
    assert not list((tmp_path / "asked").iterdir())
