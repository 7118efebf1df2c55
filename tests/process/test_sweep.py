"""Folds of a cross-validation: each a run of its own; the table; the same command again; a fold that fails."""

import json
import os
import subprocess
import sys

import pytest
import reading
from running import CHECKOUT

pytestmark = pytest.mark.process

FOLDS = """
from __gin__ import dynamic_registration

import digits
from trainer.data.sources import arrays

include 'digits.gin'

FOLD = 0
arrays.splits.train = @digits.train
digits.train.examples = 96
digits.held_out.examples = 32
SEED = %FOLD
"""


@pytest.fixture
def sweep(folder, keras_home):
    (folder / "folds.gin").write_text(FOLDS)

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "launch.sweep", "--gin_file=folds.gin", *arguments], cwd=folder, text=True, timeout=300,
            capture_output=True, env=os.environ | {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(folder)])},
        )  # fmt: skip

    return run


def test_each_fold_is_a_run_and_all_are_one_table(sweep, tmp_path):
    done = sweep(f"--run_dir={tmp_path}", "--folds=2", "--at_once=2", "--gin_param=EPOCHS = 2")
    assert done.returncode == 0, done.stderr
    reports = [reading.report(tmp_path / f"fold_{fold}") for fold in (0, 1)]
    assert [report["status"] for report in reports] == ["finished"] * 2
    assert len({report["input_digest"] for report in reports}) == 2  # each has a seed of its own
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["fold", "test/accuracy", "test/loss"] and [line[0] for line in lines[1:]] == [
        "0",
        "1",
        "mean",
        "deviation",
    ]
    one, two, mean, deviation = (float(line[2]) for line in lines[1:])
    assert one == pytest.approx(reports[0]["metrics"]["test/loss"], abs=1e-4)
    assert mean == pytest.approx((one + two) / 2, abs=1e-4) and deviation == pytest.approx(
        abs(one - two) / 2**0.5, abs=2e-4
    )
    assert json.loads((tmp_path / "sweep.json").read_text())["1"]["test/loss"] == reports[1]["metrics"]["test/loss"]
    assert len(list((tmp_path / "tensorboard").glob("fold_*/*tfevents*"))) == 2

    again = sweep(f"--run_dir={tmp_path}", "--folds=2", "--gin_param=EPOCHS = 2")
    assert again.returncode == 0 and again.stdout == done.stdout
    assert [reading.report(tmp_path / f"fold_{fold}")["attempts"] for fold in (0, 1)] == [1, 1]


def test_a_fold_that_fails_is_named(sweep, tmp_path):
    done = sweep(f"--run_dir={tmp_path}", "--folds=2", "--gin_param=EPOCHS = 0")
    assert done.returncode == 2 and done.stderr.startswith("error: fold 0: "), done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "sweep.json").exists()
    assert sweep(f"--run_dir={tmp_path}", "--folds=1").returncode == 2
