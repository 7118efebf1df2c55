"""A run that starts from another run's weights, with layers that are frozen until a step; and is killed around it."""

import signal

import numpy as np
import pytest
import reading
import user_code

pytestmark = pytest.mark.process

FROM_ANOTHER = """
from __gin__ import dynamic_registration

from trainer import experiment
from trainer.step import freezing
from trainer.pretrained import warm_start

include 'digits.gin'

experiment.run:
    warm_starts = [@warm_start.WarmStart]
    freezes = [@base/freezing.Freeze, @last/freezing.Freeze]

warm_start.WarmStart:
    path = %FROM
    pattern = 'conv2d|batch_normalization|dense/'
base/freezing.Freeze.pattern = 'conv2d|batch_normalization'
last/freezing.Freeze:
    pattern = 'conv2d'
    until = 4
"""
FLAGS = (
    "--gin_param=EPOCHS = 3", "--gin_param=digits.train.examples = 96", "--gin_param=digits.held_out.examples = 32",
    "--gin_param=CHECKPOINT_EVERY = 1", "--gin_param=STEPS_PER_LOOP = 1",
)  # fmt: skip


@pytest.fixture(scope="module")
def one(preloaded, folder, tmp_path_factory):
    """A run whose weights others start from."""
    run_dir = tmp_path_factory.mktemp("one") / "run"
    (folder / "from_another.gin").write_text(FROM_ANOTHER)
    assert preloaded.run(*user_code.SHORT, f"--run_dir={run_dir}", cwd=folder).code == 0
    return run_dir


def test_a_run_goes_on_from_another_and_is_the_same_after_kills(one, convoy, tmp_path):
    command = ("--gin_file=from_another.gin", *FLAGS, f"--gin_param=FROM = '{one}'")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = convoy(*command, f"--run_dir={whole}")
    assert done.code == 0, done.err
    assert "of 10 weights taken from " + str(one) in done.out
    assert "'conv2d' is trained from step 4 on" in done.out

    assert convoy(*command, f"--run_dir={killed}", KILL_AT="4").code == -signal.SIGKILL
    theirs, early, last = reading.tensors(one), reading.tensors(killed), reading.tensors(whole)
    kept = {name for name in theirs if name.startswith("models/") and np.array_equal(theirs[name], early[name])}
    assert {name.split("/")[3] for name in kept} == {"conv2d", "batch_normalization"} and len(kept) == 6
    assert not np.array_equal(theirs["models/model/network/conv2d/kernel"], last["models/model/network/conv2d/kernel"])
    assert np.array_equal(theirs["models/model/network/batch_normalization/moving_mean"],
                          last["models/model/network/batch_normalization/moving_mean"])  # fmt: skip

    for step in (5, 8):
        assert convoy(*command, f"--run_dir={killed}", KILL_AT=str(step)).code == -signal.SIGKILL
    assert convoy(*command, f"--run_dir={killed}").code == 0
    reading.require_equal(whole, killed)


def test_a_warm_start_that_fits_nothing_is_refused(one, convoy, tmp_path):
    reading.refuse(
        convoy, "--gin_file=from_another.gin", *FLAGS, f"--gin_param=FROM = '{one}'",
        "--gin_param=warm_start.WarmStart.pattern = 'lstm'",
        says=["matches 'lstm'", "set WarmStart.rename"], run_dir=tmp_path / "run",
    )  # fmt: skip
