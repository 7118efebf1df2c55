"""SIGTERM and SIGINT: the run is saved, says at which step, and goes on from exactly there."""

import re
import signal

import pytest
import reading
import user_code

pytestmark = pytest.mark.process


def test_stopped_at_any_moment_a_run_goes_on_from_exactly_there(start, undisturbed, tmp_path):
    run_dir = tmp_path / "run"

    def stop(number, moment):
        run = start(*user_code.LONG, f"--run_dir={run_dir}")
        assert run.wait_for(moment), run.output
        run.kill(number)
        assert run.wait() == 128 + number, run.output
        said = run.find(rf"stopped by {number.name} at step (\d+); saved")
        assert said, run.output
        step = int(said[1])
        assert reading.checkpoints(run_dir)[-1] == step
        report = reading.report(run_dir)
        assert (report["status"], report["step"]) == ("stopped", step)
        return run, step

    compiling, first = stop(signal.SIGTERM, "^steps ")
    assert compiling.step() == first < 10
    training, second = stop(signal.SIGINT, r"^at step [2-3]\d$")
    assert training.find(f"goes on from step {first},")
    assert training.step() == second
    # 48 is where an evaluation begins; interrupted, it is made up for.
    evaluating, third = stop(signal.SIGTERM, f"^at step {user_code.EVALUATE_EVERY}$")
    assert evaluating.find(f"goes on from step {second},")
    assert third == user_code.EVALUATE_EVERY
    assert not evaluating.find(f"^step {third}  epoch"), "the evaluation was over before the signal came"

    rest = start(*user_code.LONG, f"--run_dir={run_dir}")
    assert rest.wait() == 0, rest.output
    assert rest.find(f"goes on from step {third},")
    assert rest.find(f"^step {third}  epoch"), "the evaluation that was interrupted"
    reading.require_equal(undisturbed, run_dir)
    assert reading.report(run_dir)["attempts"] == 4


def test_before_the_run_has_begun_a_signal_ends_it_and_writes_nothing(start, tmp_path):
    run_dir = tmp_path / "run"
    for number in (signal.SIGTERM, signal.SIGINT):
        run = start(*user_code.SHORT, f"--run_dir={run_dir}")
        _wait_until_blocked(run, number)
        run.kill(number)
        assert run.wait() == 128 + number
        assert not run_dir.exists()
        assert "Traceback" not in run.output


def test_a_second_signal_ends_it_at_once(start, tmp_path):
    run_dir = tmp_path / "run"
    run = start(*user_code.SHORT, f"--run_dir={run_dir}", HOLD_AT="2", HOLD_UNTIL=str(tmp_path / "never"))
    assert run.wait_for("^at step 2$"), run.output
    run.kill(signal.SIGINT)
    assert run.wait_for("SIGINT received")
    run.kill(signal.SIGTERM)
    assert run.wait() == 128 + signal.SIGTERM
    assert reading.checkpoints(run_dir) == []


def _wait_until_blocked(run, number):
    """Waits until the process takes signals as requests, long before anything else of it can be seen."""
    from running import forever

    for _ in forever():
        with open(f"/proc/{run.pid}/status") as status:
            mask = re.search(r"^SigBlk:\s*(\w+)", status.read(), re.M)
        if mask and int(mask[1], 16) >> (number - 1) & 1:
            return
