"""Folds of a cross-validation: each a run of its own; the table; the same command again; folds that fail or are stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import cluster
import pytest
import reading
from running import CHECKOUT, PATIENCE, environment, forever

from launch.command import Command, ConfigurationSource
from launch.folds import run_fold
from launch.origin import Origin
from trainer.lifecycle.stop_requests import StopRequests

pytestmark = pytest.mark.process

FOLDS = """
from __gin__ import dynamic_registration

import digits
import folded
from trainer.data.sources import arrays

include 'digits.gin'

FOLD = 0
arrays.splits.train = @folded.train
folded.train.fold = %FOLD
digits.held_out.examples = 32
SEED = %FOLD
"""

FOLDED = '''
import os
import time

import digits


def train(fold):
    """Fails, if that is asked for in the environment, once a certain file is there."""
    if os.environ.get("FAILING") == str(fold):
        while not os.path.exists(os.environ["FAILING_AFTER"]):
            time.sleep(0.01)
        raise ValueError("no such rows")
    return digits.train(1000 if fold else 32)
'''

# What every Python process calls when it starts.
CUSTOMIZE = """
import os
import pathlib
import sys

for argument in sys.orig_argv:
    if argument.startswith("--gin_param=FOLD = "):
        pathlib.Path(os.environ["BEGUN"], argument.split()[-1]).touch()
"""

# With a rest at every step, they would go on for hours.
ENDLESS = ("--gin_param=EPOCHS = 1000000", "--gin_param=STEPS_PER_LOOP = 1")
PACE = "0.05"


class Sweep:
    """`python -m launch.sweep` with some arguments, in a session of its own, on folds of the digits."""

    def __init__(self, folder, run_dir, begun, *arguments, **more):
        self.mark, self.run_dir, self._begun = uuid.uuid4().hex, run_dir, begun
        self.process = subprocess.Popen(
            [sys.executable, "-m", "launch.sweep", "--gin_file=folds.gin", f"--run_dir={run_dir}", *arguments],
            cwd=folder, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(
                PYTHONPATH=os.pathsep.join(map(str, [CHECKOUT, folder, begun.parent])), BEGUN=str(begun), RAY_ADDRESS="",
                CONVOY_TEST_MARK=self.mark, **more,
            ),
        )  # fmt: skip

    def report(self, fold):
        return reading.report(self.run_dir / f"fold_{fold}")

    def begun(self):
        return sorted(int(path.name) for path in self._begun.iterdir())

    def wait_for_attempt(self, *folds, attempt=1):
        for _ in forever():
            if all(self.report(fold).get("attempts") == attempt for fold in folds):
                return
            assert self.process.poll() is None, self.wait()

    def processes(self):
        """Those of the folds that are still there."""
        return [pid for pid in cluster.marked(self.mark) if "trainer.main" in cluster.command(pid)]

    def wait(self):
        """Waits for the end; returns the exit code, and the lines of standard output and standard error."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out.splitlines(), err.splitlines()

    def require_stopped(self, *folds, ended=()):
        """No others were begun but those that had ended, and they were saved at the step that they had come to."""
        assert self.begun() == sorted([*folds, *ended]) and self.processes() == []
        for fold in folds:
            assert self.report(fold)["status"] == "stopped"
            assert reading.checkpoints(self.run_dir / f"fold_{fold}")[-1] == self.report(fold)["step"] > 0


@pytest.fixture
def start(folder, keras_home, tmp_path):
    (folder / "folds.gin").write_text(FOLDS)
    (folder / "folded.py").write_text(FOLDED)
    (tmp_path / "sitecustomize.py").write_text(CUSTOMIZE)
    (tmp_path / "begun").mkdir()
    started = []

    def start(*arguments, **more):
        started.append(Sweep(folder, tmp_path / "sweep", tmp_path / "begun", *arguments, **more))
        return started[-1]

    yield start
    for sweep in started:
        cluster.kill(cluster.marked(sweep.mark))
        sweep.process.wait(PATIENCE)


def test_a_fold_finds_what_the_command_would_wherever_it_runs(start, folder, tmp_path):
    """As in a worker of Ray on a node that was started in another folder."""
    origin = Origin(str(folder), (str(CHECKOUT), str(folder)))
    command = Command(ConfigurationSource(("folds.gin",), gin_params=("EPOCHS = 2",)), str(tmp_path / "sweep"))
    assert {"test/loss", "test/accuracy"} == set(run_fold(command, 0, StopRequests(), origin))


def test_each_fold_is_a_run_and_all_are_one_table(start):
    sweep = start("--folds=2", "--at_once=2", "--gin_param=EPOCHS = 2")
    code, out, err = sweep.wait()
    assert code == 0, err
    reports = [sweep.report(fold) for fold in (0, 1)]
    assert [report["status"] for report in reports] == ["finished"] * 2
    assert len({report["input_digest"] for report in reports}) == 2  # each has a seed of its own
    lines = [line.split() for line in out]
    assert lines[0] == ["fold", "test/accuracy", "test/loss"]
    assert [line[0] for line in lines[1:]] == ["0", "1", "mean", "deviation"]
    one, two, mean, deviation = (float(line[2]) for line in lines[1:])
    assert one == pytest.approx(reports[0]["metrics"]["test/loss"], abs=1e-4)
    assert mean == pytest.approx((one + two) / 2, abs=1e-4)
    assert deviation == pytest.approx(abs(one - two) / 2**0.5, abs=2e-4)
    losses = json.loads((sweep.run_dir / "sweep.json").read_text())
    assert losses["1"]["test/loss"] == reports[1]["metrics"]["test/loss"]

    again = start("--folds=2", "--gin_param=EPOCHS = 2")
    assert again.wait() == (0, out, [])
    assert [again.report(fold)["attempts"] for fold in (0, 1)] == [1, 1]
    shown = sorted(path.parent.name for path in (sweep.run_dir / "tensorboard").glob("*/*tfevents*"))
    assert shown == ["fold_0", "fold_1"]  # once each
    assert reading.scalars(sweep.run_dir, "fold_1")["test/loss"] == [(0, pytest.approx(two, abs=1e-4))]


@pytest.mark.slow  # of several at once below, of their order in tests/launch/test_folds.py
def test_after_a_fold_that_fails_no_other_is_begun(start, tmp_path):
    sweep = start("--folds=2", FAILING="0", FAILING_AFTER=str(tmp_path))
    code, out, err = sweep.wait()
    assert code == 2 and out == [] and len(err) == 1, err
    assert err[0].startswith("error: fold 0: ") and "no such rows" in err[0]
    assert sweep.begun() == [0] and not (sweep.run_dir / "sweep.json").exists()


def test_a_fold_that_fails_stops_those_beside_it_which_are_saved(start, tmp_path):
    beside = tmp_path / "sweep" / "fold_0" / "report.json"
    sweep = start("--folds=3", "--at_once=2", *ENDLESS, PACE=PACE, FAILING="1", FAILING_AFTER=str(beside))
    code, out, err = sweep.wait()
    assert code == 2 and out == [] and len(err) == 1 and err[0].startswith("error: fold 1: "), err
    sweep.require_stopped(0, ended=[1])


def test_a_terminal_interrupts_the_sweep_which_has_its_folds_save(start):
    sweep = start("--folds=3", "--at_once=2", *ENDLESS, PACE=PACE)
    sweep.wait_for_attempt(0, 1)
    os.killpg(sweep.process.pid, signal.SIGINT)
    code, out, err = sweep.wait()
    assert (code, err) == (130, [])
    assert out[1:] == ["stopped by SIGINT; the same command goes on with fold 0"] and "SIGINT received" in out[0]
    sweep.require_stopped(0, 1)


@pytest.mark.slow  # of an interrupt above
def test_told_to_end_it_says_with_which_fold_it_goes_on(start):
    sweep = start("--folds=3", "--gin_param=EPOCHS = 50", "--gin_param=STEPS_PER_LOOP = 1", PACE=PACE)
    sweep.wait_for_attempt(1)  # which has 1,600 steps, and the one before it 50
    sweep.process.terminate()
    code, out, err = sweep.wait()
    assert (code, err, out[-1]) == (143, [], "stopped by SIGTERM; the same command goes on with fold 1")
    assert sweep.report(0)["status"] == "finished"
    sweep.require_stopped(1, ended=[0])


def test_folds_do_not_outlive_a_sweep_that_is_killed(start):
    sweep = start("--folds=2", *ENDLESS, PACE=PACE)
    sweep.wait_for_attempt(0)
    sweep.process.kill()
    for _ in forever():
        if not sweep.processes():
            break


@pytest.mark.cluster
def test_on_ray_a_fold_survives_its_worker_and_all_are_saved_when_stopped(start):
    cluster.require_ray()
    sweep = start("--folds=2", "--on_ray", *ENDLESS, PACE=PACE)
    sweep.wait_for_attempt(0)
    of_first = next(pid for pid in sweep.processes() if "FOLD = 0" in cluster.command(pid))
    worker = int(re.search(r"^PPid:\s*(\d+)", Path(f"/proc/{of_first}/status").read_text(), re.MULTILINE)[1])
    os.kill(worker, signal.SIGKILL)
    sweep.wait_for_attempt(0, attempt=2)  # another worker's, which the directory is free for

    os.killpg(sweep.process.pid, signal.SIGINT)
    code, out, err = sweep.wait()
    assert (code, out[-1]) == (130, "stopped by SIGINT; the same command goes on with fold 0")
    assert "Traceback" not in "".join(err)  # but perhaps what Ray says of its worker
    sweep.require_stopped(*sweep.begun())


@pytest.mark.cluster
@pytest.mark.slow
def test_told_to_end_while_ray_starts_it_begins_nothing(start):
    cluster.require_ray()
    sweep = start("--folds=2", "--on_ray", *ENDLESS, PACE=PACE)
    for _ in forever():
        if any("gcs_server" in cluster.command(pid) for pid in cluster.marked(sweep.mark)):
            break
    os.killpg(sweep.process.pid, signal.SIGTERM)
    code, out, err = sweep.wait()
    assert (code, err, out[-1]) == (143, [], "stopped by SIGTERM; the same command goes on with fold 0")
    assert sweep.begun() == []
    for _ in forever():
        if not cluster.marked(sweep.mark):
            break


@pytest.mark.cluster
@pytest.mark.slow
def test_on_ray_a_fold_gets_what_the_configuration_asks_of_the_cluster(start):
    cluster.require_ray()
    variables = {"FAILING": "0", "FAILING_AFTER": "."}
    sweep = start("--folds=2", "--on_ray", f"--gin_param=cluster.Cluster.runtime_env = {{'env_vars': {variables}}}")
    code, _, err = sweep.wait()
    assert code == 2 and "error: fold 0: " in err[-1] and "no such rows" in err[-1], err


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--on_ray", "--gin_param=EPOCHS = 'ten'"], "--gin_param"),
        (["--mode=check"], "--mode=check: a sweep trains its folds"),
        (["--mode=evaluate", "--output=results.json"], "--mode=evaluate: a sweep trains its folds"),
        (["--output=results.json"], "--output has no effect with --mode=train"),
        (["--gin_param", "FOLD=2"], "--gin_param 'FOLD=2': the sweep sets FOLD itself"),
        (["--run_dir=other"], "--run_dir is given more than once"),
        (["--folds=1"], "--folds is at least 2"),
    ],
)
def test_refusals(start, flags, said):
    if "--on_ray" in flags:
        pytest.importorskip("ray", reason="the ray extra is not installed")
    sweep = start("--folds=2", *flags)
    code, out, err = sweep.wait()
    assert code == 2 and out == [] and len(err) == 1 and err[0].startswith(f"error: {said}"), err
    assert sweep.begun() == [] and not sweep.run_dir.exists()
