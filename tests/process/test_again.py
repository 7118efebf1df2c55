"""A finished run: the same command changes nothing, more epochs go on, its config.gin repeats it."""

import json
import shutil

import pytest
import reading
import user_code

pytestmark = pytest.mark.process


def test_the_same_command_again_says_that_it_is_finished(convoy, finished):
    before = reading.snapshot(finished)
    again = convoy(*user_code.SHORT, f"--run_dir={finished}")
    assert again.code == 0, again.err
    assert "finished" in again.out and "step 3" in again.out and "epochs" in again.out
    assert reading.snapshot(finished) == before


def test_its_own_config_gin_repeats_it(convoy, finished, tmp_path):
    other = convoy(f"--gin_file={finished / 'config.gin'}", f"--run_dir={tmp_path / 'other'}")
    assert other.code == 0, other.err
    reading.require_equal(finished, tmp_path / "other")
    assert (tmp_path / "other" / "config.gin").read_text() == (finished / "config.gin").read_text()


def test_the_order_of_the_actions_in_a_list_is_no_matter(convoy, finished, tmp_path):
    """A checkpoint that was listed before an evaluation would lose that it was made."""
    backwards = ", ".join(f"@{name}" for name in (
        "checkpoint.Checkpoint", "stop.Stop", "straggler.Straggler", "progress.Progress", "log.Log", "show.Show",
        "evaluate.Evaluate", "non_finite.NonFinite",
    ))  # fmt: skip
    command = (*user_code.SHORT, f"--gin_param=experiment.run.actions = [{backwards}]", f"--run_dir={tmp_path / 'run'}")
    done = convoy(*command)
    assert done.code == 0, done.err
    reading.require_equal(finished, tmp_path / "run")


def test_what_a_damaged_checkpoint_held_is_trained_again(convoy, finished, tmp_path):
    run_dir = tmp_path / "run"
    command = (*user_code.SHORT, "--gin_param=CHECKPOINT_EVERY = 2", f"--run_dir={run_dir}")
    assert convoy(*command).code == 0
    next((run_dir / "checkpoints/step_00000003").glob("state.data*")).write_bytes(b"")
    # The report of an attempt that was killed after it had written that it repeats a step, and before it had begun.
    (run_dir / "report.json").write_text(json.dumps(reading.report(run_dir) | {"repeated_steps": 1}))
    again = convoy(*command)
    assert again.code == 0 and "goes on from step 2," in again.out, again.out + again.err
    reading.require_equal(finished, run_dir)
    assert reading.report(run_dir)["repeated_steps"] == 1
    assert "finished, at step 3" in convoy(*command).out


def test_what_was_not_finite_is_not_said_when_a_run_ends_again(convoy, finished, tmp_path):
    """Its process ended between the last checkpoint and the report that says so."""
    run_dir = shutil.copytree(finished, tmp_path / "run")
    report = reading.report(run_dir)
    report |= {"status": "running", "metrics": report["metrics"] | {"test/accuracy": None}}
    (run_dir / "report.json").write_text(json.dumps(report))
    again = convoy(*user_code.SHORT, f"--run_dir={run_dir}")
    assert again.code == 0, again.err
    assert "finished at step 3  " in again.out and "test/accuracy" not in again.out, again.out


def test_more_epochs_go_on_from_the_end(convoy, finished, tmp_path):
    longer = (*user_code.SHORT, "--gin_param=EPOCHS = 2")
    whole, grown = tmp_path / "whole", tmp_path / "grown"
    assert convoy(*user_code.SHORT, f"--run_dir={grown}").code == 0
    more = convoy(*longer, f"--run_dir={grown}")
    assert more.code == 0, more.err
    assert "goes on from step 3," in more.out
    assert convoy(*longer, f"--run_dir={whole}").code == 0
    reading.require_equal(whole, grown)
    assert reading.report(grown)["attempts"] == 2
