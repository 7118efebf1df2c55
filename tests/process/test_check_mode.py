"""--mode=check: agrees for a task that keeps the rules, and names what differs for those that break one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process
ROOT = Path(__file__).resolve().parents[2]

TASKS = """
import tensorflow as tf
from trainer.tasks.supervised import Supervised


class Noise(Supervised):
    def losses(self, batch, seed):
        x = tf.cast(batch["x"], tf.float32)
        return super().losses({**batch, "x": x + 20.0 * tf.random.normal(tf.shape(x))}, seed)


class Divides(Supervised):
    # Divides by the batch size, and takes padding for examples.
    def losses(self, batch, seed):
        losses, outputs = super().losses({**batch, "valid": tf.ones_like(batch["valid"])}, seed)
        size = tf.cast(tf.shape(batch["y"])[0], tf.float32)
        return {"loss": losses["loss"]._replace(values=losses["loss"].values / size)}, outputs
"""
GIN = """
from __gin__ import dynamic_registration
import keras
import wrong_tasks
from trainer import experiment
from trainer.data.sources import samples
from trainer.models import mlp
BATCH_SIZE = 32
EPOCHS = 1
SEED = 1
include 'base.gin'
experiment.run:
    data = @samples.mnist_digits
    epochs = %EPOCHS
    task = @wrong_tasks.{task}
wrong_tasks.{task}:
    model = @mlp.mlp
    loss = @keras.losses.SparseCategoricalCrossentropy
    optimizer = @keras.optimizers.Adam
mlp.mlp.scale = 0.0039
keras.losses.SparseCategoricalCrossentropy.from_logits = True
"""


def check(*flags, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "trainer.main", "--mode=check", *flags],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_task_that_keeps_the_rules_agrees_with_dropout_on():
    done = check("--gin_file=runs/mnist_small.gin", "--model=mlp")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one and two devices compute the same" in done.stdout and "DIFFER" not in done.stdout


@pytest.mark.parametrize(
    "task, quantities", [("Noise", ["losses", "gradients"]), ("Divides", ["every example twice", "padding"])]
)
def test_a_task_that_breaks_a_rule_is_found_out(tmp_path, task, quantities):
    (tmp_path / "wrong_tasks.py").write_text(TASKS)
    (tmp_path / "wrong.gin").write_text(GIN.format(task=task))
    done = check("--gin_file=wrong.gin", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    found = [line[8:].split("  ")[0] for line in done.stdout.splitlines() if line.startswith("DIFFER")]
    assert set(found) >= set(quantities), done.stdout
