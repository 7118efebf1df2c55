"""Two Ray workers compute what one process does, and survive what may happen to them, bit for bit."""

import os
import re
import signal
import time

import campaign
import cluster
import pytest
import reading
import user_code

from trainer.goodput import KINDS

cluster.require_ray()
pytestmark = [pytest.mark.process, pytest.mark.cluster]


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """The run directory of user_code's long run on two workers, never interrupted."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    run = cluster.RayRun(run_dir, *user_code.LONG, *cluster.TWO, cwd=folder)
    try:
        assert run.wait() == 0, run.output
        run.require_nothing_left()
        yield run_dir
    finally:
        run.end()


@pytest.fixture
def ray(folder):
    """Starts a command on Ray in the user's folder; afterwards nothing of it is there."""
    started = []

    def start(run_dir, *arguments, cwd=folder, **more):
        started.append(cluster.RayRun(run_dir, *arguments, cwd=cwd, **more))
        return started[-1]

    yield start
    for run in started:
        run.end()


def test_one_process_two_devices_and_two_workers_lose_alike(ray, convoy, tmp_path):
    """Step by step over the first 100 steps, dropout on.

    The perceptron, because a convolution's bias passes zero, and with it every dark pixel the kink of its activation:
    which step that is in is a matter of rounding.
    """
    flags = ("--gin_file=runs/mnist_small.gin", "--model=mlp", "--gin_param=EPOCHS = 1", "--gin_param=STEPS_PER_LOOP = 8",
             "--gin_param=log.Log.every = 1")  # fmt: skip
    one, two, workers = (tmp_path / name for name in ("one", "two", "workers"))
    run = ray(workers, *flags, *cluster.TWO)
    assert run.wait() == 0, run.output
    for run_dir, strategy in ((one, "default"), (two, "mirrored")):
        done = convoy(*flags, f"--strategy={strategy}", "--gin_param=SHARDS = 2", f"--run_dir={run_dir}")
        assert done.code == 0, done.err
    expected = reading.scalars(one, "train")["loss"]
    assert [step for step, _ in expected][:100] == list(range(1, 101))
    for other in (two, workers):
        found = reading.scalars(other, "train")["loss"]
        assert [step for step, _ in found] == [step for step, _ in expected]
        for (_, loss), (step, wanted) in zip(found[:100], expected[:100], strict=True):
            assert loss == pytest.approx(wanted, rel=1e-5), f"{other.name}, step {step}"
        assert reading.report(other)["input_digest"] == reading.report(one)["input_digest"]


def test_ten_kills_of_any_rank_change_nothing(ray, whole, tmp_path):
    """During start-up, compilation, a step, saving and evaluation; the run ends by itself."""
    run_dir = tmp_path / "run"
    started = time.time()
    run = ray(run_dir, *user_code.LONG, *cluster.TWO)
    kills = campaign.kill_workers(run, kills=10, seed=3)
    assert run.wait() == 0, run.output
    run.require_nothing_left()
    seconds = time.time() - started

    assert {kill.rank for kill in kills} == {0, 1}
    report = reading.report(run_dir)
    assert (report["status"], report["step"]) == ("finished", user_code.TOTAL)
    assert 6 <= report["attempts"] <= 11 and run.groups() >= report["attempts"]
    reading.require_equal(whole, run_dir)
    # Every second of the command is accounted for, and what was lost is said.
    goodput = report["goodput"]
    assert sum(goodput.values()) == pytest.approx(seconds, rel=0.02, abs=2.0)
    assert goodput["lost"] > 0 and goodput["restart"] > goodput["idle"] == 0
    assert report["repeated_steps"] > 0 == reading.report(whole)["repeated_steps"]
    assert sum(" was lost" in line for line in run.out) == 10, run.output
    assert "Traceback" not in run.output


def test_workers_that_hang_are_named_and_made_up_for(ray, whole, tmp_path):
    """Stopped; in an endless loop of a source's read; asleep in a step."""
    run_dir, asked = tmp_path / "run", tmp_path / "asked"
    asked.mkdir()
    # After 10 seconds TensorFlow by itself ends the worker that waits for the silent one, who is to be named all the same.
    late = ("--gin_file=hanging.gin", "--gin_param=monitor.Limits.silence = 11")
    run = ray(run_dir, *user_code.LONG, *cluster.TWO, *late, HANG_IN=str(asked))

    def named(number, rank, phases):
        found = run.wait_for(r"^worker (\d) .* since (\d+) s,.* in phase (\w+), after [\d,]+ steps .*: ended", number)
        assert found and found[1] == str(rank) and found[3] in phases, run.output
        assert int(found[2]) < 20  # as the driver counts: reading the stacks of a busy machine takes time of its own

    run.wait_for_step(60)
    run.kill_worker(1, signal.SIGSTOP)
    named(1, 1, KINDS)  # whichever it was in

    assert run.wait_for("attempt 2$"), run.output
    run.wait_for_step(run.step() + 2)
    (asked / "read_1").touch()  # once what is there already is used up
    named(2, 1, ["data"])
    step = run.step()
    assert run.wait_for(r"^  .*endless \(")
    (asked / "read_1").unlink()

    assert run.wait_for("attempt 3$"), run.output
    run.wait_for_step(step + 20)
    (asked / "step_0").touch()
    named(3, 0, ["stepping"])
    assert run.wait_for(r"^  .*asleep \(")
    (asked / "step_0").unlink()

    assert run.wait() == 0, run.output
    reading.require_equal(whole, run_dir)
    assert len(list((run_dir / "logs").glob("hang_*.txt"))) == 3


def test_a_worker_that_is_told_to_leave_costs_no_step(ray, whole, tmp_path):
    run_dir = tmp_path / "run"
    run = ray(run_dir, *user_code.LONG, *cluster.TWO)
    run.wait_for_step(60)
    run.kill_worker(1, signal.SIGTERM)
    assert run.wait_for("^starting again: a worker that was told to leave$"), run.output
    assert run.wait_for("attempt 2$"), run.output
    # And a driver that is told to stop ends the run, which the same command goes on with.
    run.wait_for_step(120)
    run.kill(signal.SIGTERM)
    assert run.wait() == 143, run.output
    stopped = run.find(r"^stopped by SIGTERM at step (\d+); saved")
    assert stopped and int(stopped[1]) == reading.checkpoints(run_dir)[-1]
    run.require_nothing_left()
    rest = ray(run_dir, *user_code.LONG, *cluster.TWO)
    assert rest.wait() == 0, rest.output
    report = reading.report(run_dir)
    assert (report["repeated_steps"], report["attempts"]) == (0, 3), run.output + rest.output
    reading.require_equal(whole, run_dir)


def test_a_driver_that_is_killed_leaves_nothing_behind_and_can_be_started_again(ray, whole, tmp_path):
    run_dir = tmp_path / "run"
    run = ray(run_dir, *user_code.LONG, *cluster.TWO)
    run.wait_for_step(100)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    run.require_nothing_left()
    saved = reading.checkpoints(run_dir)[-1]
    rest = ray(run_dir, *user_code.LONG, *cluster.TWO)
    assert rest.wait() == 0, rest.output
    assert rest.find(f"goes on from step {saved}, attempt 2$"), rest.output
    reading.require_equal(whole, run_dir)


@pytest.mark.parametrize("where", ["all", "1"])
def test_a_bug_is_shown_once_and_not_tried_again(ray, tmp_path, where):
    flags = (*user_code.LONG, *cluster.TWO, "--gin_param=STEPS_PER_LOOP = 1")
    run = ray(tmp_path / "run", *flags, BUG_AT="7", BUG_ON=where)
    run.wait_for_step(7)
    begun = time.monotonic()
    assert run.wait() == 1
    assert time.monotonic() - begun < 30
    assert run.output.count("ZeroDivisionError") == 1, run.output
    assert "digits.py" in run.output and "ray/" not in run.output and "starting again" not in run.output
    assert ("worker 1: " in run.output) == (where == "1")
    assert run.groups() == 1, run.output
    run.require_nothing_left()


def test_an_error_of_one_worker_while_it_builds_is_not_hidden_by_the_others(ray, tmp_path):
    run = ray(tmp_path / "run", *user_code.LONG, *cluster.TWO, BUG_AT="model", BUG_ON="1")
    assert run.wait() == 2, run.output
    assert len(run.err) == 1 and run.err[0].startswith("error: worker 1: the task cannot be made: ZeroDivisionError")
    assert "digits.py" in run.err[0] and not run.run_dir.exists()


def test_a_signal_to_all_processes_of_the_command_is_one_to_the_command(ray, tmp_path):
    """As of timeout(1), of a batch system, or of a terminal."""
    run = ray(tmp_path / "run", *user_code.LONG, *cluster.TWO)
    run.wait_for_step(50)
    os.killpg(run.pid, signal.SIGTERM)
    assert run.wait() == 143, run.output
    assert run.find(r"^stopped by SIGTERM at step \d+; saved"), run.output
    run.require_nothing_left()


def test_failures_can_be_rehearsed(ray, tmp_path):
    """One worker is slow for a while, and later a gradient is no number."""
    faults = (
        "experiment.run.faults = [@slow/fault.Fault, @wrong/fault.Fault]",
        "slow/fault.Fault.kind = 'sleep'", "slow/fault.Fault.step = 20", "slow/fault.Fault.rank = 1",
        "slow/fault.Fault.times = 60", "slow/fault.Fault.seconds = 0.4",
        "wrong/fault.Fault.kind = 'nan'", "wrong/fault.Fault.step = 100", "wrong/fault.Fault.rank = 1",
    )  # fmt: skip
    flags = ("--gin_file=digits.gin", "--gin_file=overlays/fault.gin", *(f"--gin_param={fault}" for fault in faults))
    run = ray(tmp_path / "run", *flags, *cluster.TWO, "--gin_param=EPOCHS = 8", "--gin_param=CHECKPOINT_EVERY = 50")
    assert run.wait() == 1, run.output
    assert run.find(r"^worker 1 is slow: the others wait for it \d+% of the time, at step [2-8]\d$"), run.output
    assert len(run.err) == 1 and "not finite at step" in run.err[0] and run.groups() == 1
    assert reading.checkpoints(run.run_dir)[-1] == 100


def test_two_runs_at_once_do_not_meet(ray, tmp_path):
    runs = [ray(tmp_path / name, *user_code.SHORT, *cluster.TWO) for name in ("a", "b")]
    for run in runs:
        assert run.wait() == 0, run.output
    for run in runs:
        run.require_nothing_left()
        assert run.groups() == 1 and reading.report(run.run_dir)["attempts"] == 1


def test_what_the_workers_find_wrong_is_said_as_in_one_process(ray, tmp_path):
    run_dir = tmp_path / "run"
    run = ray(run_dir, *user_code.LONG, *cluster.TWO, "--gin_param=arrays.splits.train = @digits.unequal")
    assert run.wait() == 2
    assert len(run.err) == 1 and run.err[0].startswith("error: ") and "unequal" in run.err[0], run.output
    assert not run_dir.exists(), "something was written"


def test_the_console_of_a_cluster_is_that_of_one_process(ray, tmp_path):
    run = ray(tmp_path / "run", *user_code.SHORT, *cluster.TWO)
    assert run.wait() == 0 and run.err == []
    kinds = r"^(worker [01] |run  |devices  |data  |model  |steps  |step \d|finished at step 3  |watch  )"
    strange = [line for line in run.out if not re.match(kinds, line)]
    assert strange == []
    for rank in (0, 1):
        assert "MultiWorkerMirroredStrategy" in (tmp_path / "run" / "logs" / f"worker_{rank}.log").read_text()
