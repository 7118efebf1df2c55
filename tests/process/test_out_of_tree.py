"""A task, a model and a gin file outside of the tree train, evaluate and predict with no edit of it."""

import json

import numpy as np
import pytest
import reading
import user_code

pytestmark = pytest.mark.process

MODULE = '''
"""A least-squares fit, as a task of the user's own."""

import keras
import numpy as np
import tensorflow as tf
from trainer.data.sources.arrays import Arrays
from trainer.data.source import Splits
from trainer.tasks.protocol import Loss, Objective, Parts


def line(slope=3.0):
    def source(n, seed):
        x = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
        return Arrays({"point": x, "height": x @ np.float32([slope, -1.0])})
    return Splits(source(320, 0), validation=source(50, 1))


def plane():
    return keras.Sequential([keras.layers.Dense(1)], name="plane")


class Fit:
    def __init__(self, model, optimizer):
        self._make_model, self._make_optimizer = model, optimizer

    def build(self, fields):
        self.model = self._make_model()
        self.model.build((None, *fields["point"].shape))
        return Parts([Objective("error", self.model.trainable_variables, self._make_optimizer())],
                     {"plane": self.model})

    def losses(self, batch, seed):
        outputs = self.outputs(batch)
        return self.evaluate(batch, outputs), outputs

    def outputs(self, batch):
        return {"height": self.model(batch["point"])[:, 0]}

    def evaluate(self, batch, outputs):
        return {"error": Loss((outputs["height"] - batch["height"]) ** 2 * batch["valid"], batch["valid"])}

    def metrics(self):
        return {}

    def update(self, metrics, batch, outputs):
        pass
'''

GIN = """
from __gin__ import dynamic_registration
import keras
import surface
from trainer import experiment
from trainer.actions import evaluate

BATCH_SIZE = 16
EPOCHS = 10
SEED = 3
include 'base.gin'

experiment.run:
    data = @surface.line
    task = @surface.Fit
    epochs = %EPOCHS
surface.Fit:
    model = @surface.plane
    optimizer = @keras.optimizers.SGD
keras.optimizers.SGD.learning_rate = 0.1
evaluate.Evaluate.split = 'validation'
"""


def test_train_evaluate_and_predict_from_the_users_own_folder(start, convoy, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "surface.py").write_text(MODULE)
    (mine / "surface.gin").write_text(GIN)

    train = start("--gin_file=surface.gin", "--run_dir=fit", cwd=mine)
    assert train.wait() == 0, train.output
    error = reading.report(mine / "fit")["metrics"]["validation/error"]
    assert error < 1e-4

    before = reading.snapshot(mine / "fit")
    evaluate = convoy("--mode=evaluate", "--run_dir=fit", "--output=scores.json", cwd=mine)
    assert evaluate.code == 0, evaluate.err
    scores = json.loads((mine / "scores.json").read_text())
    assert scores["step"] == 200 and scores["validation"]["error"] == pytest.approx(error)
    assert f"{error:.4g}"[:4] in evaluate.out

    np.savez(mine / "points.npz", point=np.float32([[1, 0], [0, 1], [2, 2]]))
    files = ("--input=points.npz", "--output=heights.npz")
    predict = convoy("--mode=predict", "--run_dir=fit", *files, cwd=mine)
    assert predict.code == 0, predict.err
    with np.load(mine / "heights.npz") as heights:
        assert heights["height"] == pytest.approx([3, -1, 4], abs=0.05)
    assert reading.snapshot(mine / "fit") == before


def test_predict_writes_one_row_an_example_in_order(convoy, folder, tmp_path):
    run_dir = tmp_path / "run"
    assert convoy(*user_code.SHORT, f"--run_dir={run_dir}").code == 0
    assert convoy("--mode=predict", f"--run_dir={run_dir}").code == 0
    with np.load(run_dir / "predictions.npz") as file:
        whole = file["output"]
    assert whole.shape == (32, 10)

    with np.load(folder / "digits.npz") as file:  # the test split, the other way round
        np.savez(tmp_path / "input.npz", x=file["x"][1000:1032][::-1])
    again = convoy("--mode=predict", f"--run_dir={run_dir}", f"--input={tmp_path / 'input.npz'}",
                   f"--output={tmp_path / 'output.npz'}")  # fmt: skip
    assert again.code == 0, again.err
    with np.load(tmp_path / "output.npz") as file:
        assert file["output"] == pytest.approx(whole[::-1], rel=1e-4, abs=1e-5)
