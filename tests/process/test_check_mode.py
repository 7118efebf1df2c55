"""--mode=check: agrees for a task that keeps the rules, and names what differs for those that break one."""

import pytest

pytestmark = pytest.mark.process

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


def near_others(labels, outputs):
    # Each image against all of its batch; padding must not be among them.
    return tf.reduce_logsumexp(tf.linalg.matmul(outputs, outputs, transpose_b=True), axis=1)
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
CONTRASTIVE = """
from __gin__ import dynamic_registration
import wrong_tasks
from trainer.tasks import keras_loss
from trainer.tasks import supervised
include 'runs/mnist_small.gin'
include 'models/mlp.gin'
supervised.Supervised.metrics = []
supervised.Supervised.loss = """
MEANT = "@keras_loss.Contrastive\nkeras_loss.Contrastive.loss = @wrong_tasks.near_others\n"
NOT_MEANT = "@wrong_tasks.near_others\n"
MLP = ("--gin_file=runs/mnist_small.gin", "--model=mlp")


@pytest.fixture
def checked(convoy, tmp_path):
    """The exit code of a check, and what it says."""
    (tmp_path / "wrong_tasks.py").write_text(TASKS)
    for task in ("Noise", "Divides"):
        (tmp_path / f"{task}.gin").write_text(GIN.format(task=task))

    (tmp_path / "meant.gin").write_text(CONTRASTIVE + MEANT)
    (tmp_path / "not_meant.gin").write_text(CONTRASTIVE + NOT_MEANT)

    def check(*flags):
        done = convoy("--mode=check", *flags, cwd=tmp_path)
        return done.code, done.out + done.err

    return check


def test_a_task_that_keeps_the_rules_agrees_with_dropout_on(checked):
    code, said = checked(*MLP)
    assert code == 0, said
    assert "one and two devices compute the same" in said and "DIFFER" not in said


@pytest.mark.parametrize(
    "task, quantities", [("Noise", ["losses", "gradients"]), ("Divides", ["every example twice", "padding"])]
)
def test_a_task_that_breaks_a_rule_is_found_out(checked, task, quantities):
    code, said = checked(f"--gin_file={task}.gin")
    assert code == 1, said
    found = [line[8:].split("  ")[0] for line in said.splitlines() if line.startswith("DIFFER")]
    assert set(found) >= set(quantities), said


@pytest.mark.parametrize("meant", [True, False])
def test_a_loss_that_compares_examples_is_told_from_a_fault(checked, meant):
    """The last batch of the epoch is padded."""
    code, said = checked("--gin_file=meant.gin" if meant else "--gin_file=not_meant.gin")
    assert code == (0 if meant else 1), said
    assert "depends on the size of a shard: fix SHARDS" in said
    assert ("Contrastive" in said) != meant
    found = [line[8:].split("  ")[0] for line in said.splitlines() if line.startswith("DIFFER")]
    assert found == ([] if meant else ["every example twice", "padding"]), said


def test_wrong_input_is_told_in_one_line(checked):
    code, said = checked(*MLP, "--gin_param=mlp.mlp.dropout = 2.0")
    assert code == 2, said
    lines = said.splitlines()
    assert len(lines) == 2 and lines[1].startswith("error: the task cannot be made: "), said
    assert "dropout" in lines[1] and "\x1b" not in said
