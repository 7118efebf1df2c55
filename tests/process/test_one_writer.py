"""A run directory has one writer: a second is refused, the first not disturbed, and then it is free."""

import pytest
import reading
import user_code

pytestmark = pytest.mark.process


def test_a_second_process_on_the_same_run_dir_is_refused(start, convoy, tmp_path):
    run_dir, go_on = tmp_path / "run", tmp_path / "go on"
    command = (*user_code.SHORT, f"--run_dir={run_dir}")
    first = start(*command, HOLD_AT="2", HOLD_UNTIL=str(go_on))
    assert first.wait_for("^at step 2$"), first.output
    before = reading.snapshot(run_dir)

    second = convoy(*command)
    assert second.code == 2
    assert f"process {first.pid}" in second.err and "in use" in second.err
    third = convoy(*command)
    assert f"process {first.pid}" in third.err, "the refused one has not put its own number there"
    assert reading.snapshot(run_dir) == before

    go_on.touch()
    assert first.wait() == 0, first.output
    assert reading.report(run_dir)["attempts"] == 1
    after = convoy(*command)
    assert after.code == 0 and "finished" in after.out


def test_two_that_start_together_do_not_both_train(start, tmp_path):
    go_on = tmp_path / "go on"
    command = (*user_code.SHORT, f"--run_dir={tmp_path / 'run'}")
    runs = [start(*command, HOLD_AT="2", HOLD_UNTIL=str(go_on)) for _ in range(2)]
    refused, trains = sorted(runs, key=lambda run: run.wait_for("^at step 2$") is not None)
    assert refused.wait() == 2, refused.output
    assert f"process {trains.pid}" in refused.output
    go_on.touch()
    assert trains.wait() == 0, trains.output


def test_one_that_was_slow_to_start_does_not_begin_again_what_another_has_trained(start, convoy, tmp_path):
    run_dir, go_on = tmp_path / "run", tmp_path / "go on"
    command = (*user_code.SHORT, "--gin_param=CHECKPOINT_EVERY = 1", f"--run_dir={run_dir}")
    slow = start(*command, HOLD_AT="data", HOLD_UNTIL=str(go_on))
    assert slow.wait_for("^waiting$"), slow.output
    convoy(*command, KILL_AT="3")
    assert reading.checkpoints(run_dir)[0] == 1
    go_on.touch()
    slow.wait()
    assert not slow.find("^at step 1$"), slow.output


@pytest.mark.parametrize("place", ["2", pytest.param("data", marks=pytest.mark.slow)])
def test_one_that_was_cut_off_changes_nothing_when_it_comes_back(start, convoy, tmp_path, place):
    """As by a network that parts: its lock is lost with it, and another one goes on. It was in a step, or had just read."""
    run_dir, go_on = tmp_path / "run", tmp_path / "go on"
    command = (*user_code.SHORT, "--gin_param=CHECKPOINT_EVERY = 1", f"--run_dir={run_dir}")
    assert convoy(*command, KILL_AT="2").code != 0
    old = start(*command, HOLD_AT=place, HOLD_UNTIL=str(go_on))
    assert old.wait_for("^waiting$"), old.output
    (run_dir / ".lock").unlink()
    new = convoy(*command)
    assert new.code == 0, new.err
    before = reading.snapshot(run_dir)
    go_on.touch()
    assert old.wait() == 1, old.output
    assert "attempt 2" in old.output and "is over, since attempt 3 has begun" in old.output, old.output
    assert "Traceback" not in old.output
    after = {name: content for name, content in reading.snapshot(run_dir).items() if ".attempt_2" not in name}
    assert after == before, "but for what the next attempt cleans up"
    assert reading.report(run_dir)["attempts"] == 3
