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
from running import forever

from launch.on_ray.hang_detector import HangLimits
from trainer.lifecycle.goodput import KINDS

cluster.require_ray()
pytestmark = [pytest.mark.process, pytest.mark.cluster]

# Evaluated on fewer examples, which two workers on two cores take long enough for; every loss can be seen.
LONG = (*user_code.LONG, "--gin_param=digits.held_out.examples = 1000", "--gin_param=log.Log.every = 2")
# Where no worker is lost, or how soon the next one is there is no matter.
NOBODY_WAITS = "--gin_param=cluster.Cluster.prestart = False"


@pytest.fixture(scope="module")
def undisturbed_run(folder, tmp_path_factory):
    """user_code's long run on two workers, never interrupted, on a Ray of its own."""
    run = cluster.RayRun(tmp_path_factory.mktemp("whole") / "run", *LONG, *cluster.TWO, NOBODY_WAITS, cwd=folder)
    try:
        assert run.wait() == 0, run.output
        run.require_nothing_left()
        yield run
    finally:
        run.end()


@pytest.fixture
def whole(undisturbed_run):
    """Its run directory."""
    return undisturbed_run.run_dir


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A Ray that is there already: what is not about how Ray starts, and what is left of it, shares it."""
    nodes = cluster.Nodes(tmp_path_factory.mktemp("r"), cpus=3)
    yield nodes.access()
    nodes.end()


@pytest.fixture
def own_ray(folder):
    """Starts a command in the user's folder that starts a Ray of its own; afterwards nothing of it is there."""
    runs = []

    def start(run_dir, *arguments, cwd=folder, **more):
        runs.append(cluster.RayRun(run_dir, *arguments, cwd=cwd, **more))
        return runs[-1]

    yield start
    for run in runs:
        run.end()


@pytest.fixture
def ray(own_ray, started):
    """Starts a command in the user's folder, on the Ray that is there, with more variables for its workers."""

    def start(run_dir, *arguments, **more):
        sent = f"--gin_param=cluster.Cluster.runtime_env = {{'env_vars': {more}}}"
        return own_ray(run_dir, *arguments, sent, **started, **more)

    return start


def test_one_process_two_devices_and_two_workers_lose_alike(whole, convoy, tmp_path):
    """Over the first 50 steps, dropout on; what follows is rounding that Adam makes larger."""
    one, two = (tmp_path / name for name in ("one", "two"))
    for run_dir, strategy in ((one, "default"), (two, "mirrored")):
        done = convoy(*LONG, f"--strategy={strategy}", "--gin_param=SHARDS = 2", f"--run_dir={run_dir}")
        assert done.code == 0, done.err
    expected = reading.scalars(one, "train")["loss"]
    assert [step for step, _ in expected][:25] == list(range(2, 51, 2))
    for other in (two, whole):
        found = reading.scalars(other, "train")["loss"]
        assert [step for step, _ in found] == [step for step, _ in expected]
        for (_, loss), (step, wanted) in zip(found[:25], expected[:25], strict=True):
            assert loss == pytest.approx(wanted, rel=1e-5), f"{other.name}, step {step}"
        assert reading.report(other)["input_digest"] == reading.report(one)["input_digest"]


@pytest.mark.slow  # of one kill below
def test_ten_kills_of_any_rank_change_nothing(own_ray, whole, tmp_path):
    """Twice at each of campaign.MOMENTS; the run ends by itself."""
    run_dir = tmp_path / "run"
    begun = time.time()
    run = own_ray(run_dir, *LONG, *cluster.TWO)
    done = campaign.kill_workers(run, kills=10, seed=3)
    assert run.wait() == 0, run.output
    run.require_nothing_left()
    seconds = time.time() - begun

    assert {kill.rank for kill in done} == {0, 1}
    report = reading.report(run_dir)
    assert (report["status"], report["step"]) == ("finished", user_code.TOTAL)
    # An attempt counts once its workers have built everything; some kills come before.
    assert 6 <= report["attempts"] <= 11 and run.groups() >= report["attempts"]
    reading.require_equal(whole, run_dir)
    # Every second of the command is accounted for, and what was lost is said.
    goodput = report["goodput"]
    assert sum(goodput.values()) == pytest.approx(seconds, rel=0.02, abs=2.0)
    assert goodput["lost"] > 0 and goodput["restart"] > goodput["idle"] == 0
    assert report["repeated_steps"] > 0 == reading.report(whole)["repeated_steps"]
    assert sum(" was lost" in line for line in run.out) == 10, run.output
    assert "Traceback" not in run.output


class Gauntlet:
    """A run whose workers are killed, told to leave, stopped, or hang, one after another."""

    def __init__(self, run, asked):
        self._run, self._asked, self._hangs, self._attempt = run, asked, 0, 1

    def is_killed_while_saving(self):
        for _ in forever():
            if reading.being_saved(self._run.run_dir) or self._run.process.poll() is not None:
                break
        self._run.kill_worker(0)
        assert self._run.wait_for("^worker 0 was lost: "), self._run.output
        self._goes_on()

    def leaves(self):
        before = reading.report(self._run.run_dir)["repeated_steps"]
        self._run.kill_worker(1, signal.SIGTERM)
        assert self._run.wait_for("^starting again: a worker that was told to leave$"), self._run.output
        self._goes_on()
        assert reading.report(self._run.run_dir)["repeated_steps"] == before, "it was told early enough"

    def is_stopped(self):
        self._run.kill_worker(1, signal.SIGSTOP)
        self._is_named(1, KINDS)  # whichever phase it was in
        self._goes_on()

    def hangs_in_a_read(self):
        self._hangs_at("read", 1, ["data"], r"^  .*endless \(")  # once what is there already is used up

    def hangs_in_a_step(self):
        self._hangs_at("step", 0, ["stepping"], r"^  .*asleep \(")

    def _hangs_at(self, place, rank, phases, frame):
        file = self._asked / f"{place}_{rank}"
        file.touch()
        self._is_named(rank, phases)
        assert self._run.wait_for(frame), self._run.output
        file.unlink()
        self._goes_on()

    def _is_named(self, rank, phases):
        self._hangs += 1
        said = r"^worker (\d) .* for (\d+) s,.* in phase (\w+), after [\d,]+ steps .*: ended"
        found = self._run.wait_for(said, self._hangs)
        assert found and found[1] == str(rank) and found[3] in phases, self._run.output
        # By the limit of steps, which grows with their usual time, and not by that of phases that may take long.
        assert int(found[2]) < HangLimits.slow / 10

    def _goes_on(self):
        self._attempt += 1
        assert self._run.wait_for(f"attempt {self._attempt}$"), self._run.output
        self._run.wait_for_step(self._run.step() + 2)

    def ends(self):
        assert self._run.wait() == 0, self._run.output
        assert len(list((self._run.run_dir / "logs").glob("hang_*.txt"))) == self._hangs
        assert reading.report(self._run.run_dir)["attempts"] == self._attempt


@pytest.mark.parametrize(
    "what",
    [
        ["leaves", "is_stopped", "hangs_in_a_step", "is_killed_while_saving"],
        pytest.param(["hangs_in_a_read", "is_stopped", "leaves", "hangs_in_a_step"], marks=pytest.mark.slow),
    ],
    ids=["killed", "read"],
)
def test_workers_that_leave_hang_or_die_are_named_and_replaced(ray, whole, tmp_path, what):
    """One that is told to leave costs no step; one that hangs is named, with where it stands, and ended."""
    asked = tmp_path / "asked"
    asked.mkdir()
    # After 10 seconds TensorFlow by itself ends the worker that waits for the silent one, who is to be named all the same.
    limits = ("--gin_param=hang_detector.HangLimits.silence = 11", "--gin_param=hang_detector.HangLimits.data = 12")
    late = ("--gin_file=hanging.gin", *limits)
    run = ray(tmp_path / "run", *LONG, *cluster.TWO, *late, HANG_IN=str(asked))
    run.wait_for_step(60)
    assert run.process.poll() is None, run.output
    gauntlet = Gauntlet(run, asked)
    for each in what:
        getattr(gauntlet, each)()
    gauntlet.ends()
    reading.require_equal(whole, run.run_dir)


def test_a_command_that_is_killed_or_stopped_leaves_nothing_behind_and_can_be_given_again(own_ray, tmp_path):
    """SIGKILL of the driver; then a signal to all its processes, as of timeout(1), a batch system or a terminal."""
    run_dir = tmp_path / "run"
    run = own_ray(run_dir, *LONG, *cluster.TWO, NOBODY_WAITS)
    run.wait_for_step(50)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    run.require_nothing_left()
    saved = reading.checkpoints(run_dir)[-1]

    run = own_ray(run_dir, *LONG, *cluster.TWO, NOBODY_WAITS)
    assert run.wait_for(f"goes on from step {saved}, attempt 2$"), run.output
    run.wait_for_step(run.step() + 10)
    os.killpg(run.pid, signal.SIGTERM)
    assert run.wait() == 143, run.output
    stopped = run.find(r"^stopped by SIGTERM at step (\d+); saved")
    assert stopped and int(stopped[1]) == reading.checkpoints(run_dir)[-1] > saved, run.output
    run.require_nothing_left()


SPREAD = "--gin_param=cluster.PlacementSettings.strategy = 'STRICT_SPREAD'"


def test_where_workers_would_have_to_be_on_nodes_of_their_own_as_many_start_as_there_are_nodes(ray, tmp_path):
    run = ray(tmp_path / "run", *user_code.SHORT, *cluster.RAY, "--num_workers=1:2", SPREAD, NOBODY_WAITS)
    assert run.wait() == 0, run.output
    assert run.find(r"^there is room for 1 of up to 2 workers$") and run.groups() == 1, run.output
    assert reading.report(run.run_dir)["num_replicas"] == 1


def test_a_signal_ends_the_wait_for_room_at_once(ray, tmp_path):
    run = ray(tmp_path / "run", *user_code.SHORT, *cluster.TWO, SPREAD)
    assert run.wait_for(r"^waiting for room: 1 of at least 2 workers .*, placed by STRICT_SPREAD, 0 s"), run.output
    asked = time.monotonic()
    run.kill(signal.SIGTERM)
    assert run.wait() == 143, run.output
    assert time.monotonic() - asked < 5 and not (run.run_dir / "report.json").exists()


def test_a_checkpoint_that_cannot_be_written_ends_all_workers_with_one_line(ray, tmp_path):
    run = ray(tmp_path / "run", *LONG, *cluster.TWO, NOBODY_WAITS)
    run.wait_for_step(30)
    (run.run_dir / "checkpoints").rename(run.run_dir / "elsewhere")
    (run.run_dir / "checkpoints").write_text("no folder")
    assert run.wait() == 1, run.output
    assert len(run.err) == 1 and "no checkpoint could be written" in run.err[0] and run.groups() == 1, run.output


@pytest.mark.slow  # of all its processes above
def test_a_signal_to_the_driver_alone_is_one_to_the_command(own_ray, tmp_path):
    run = own_ray(tmp_path / "run", *LONG, *cluster.TWO, NOBODY_WAITS)
    run.wait_for_step(50)
    run.kill(signal.SIGTERM)
    assert run.wait() == 143, run.output
    assert run.find(r"^stopped by SIGTERM at step \d+; saved"), run.output
    run.require_nothing_left(agents=True)


@pytest.mark.parametrize("where", ["1", pytest.param("all", marks=pytest.mark.slow)])
def test_a_bug_is_shown_once_and_not_tried_again(ray, tmp_path, where):
    flags = (*LONG, *cluster.TWO, "--gin_param=STEPS_PER_LOOP = 1")
    run = ray(tmp_path / "run", *flags, BUG_AT="7", BUG_ON=where)
    assert run.wait() == 1
    assert run.output.count("ZeroDivisionError") == 1, run.output
    assert "digits.py" in run.output and "ray/" not in run.output and "starting again" not in run.output
    assert ("worker 1: " in run.output) == (where == "1")
    assert run.groups() == 1, run.output


@pytest.mark.slow  # of a bug in training above, of the outcomes in tests/launch/on_ray/test_restart_policy.py
def test_an_error_of_one_worker_while_it_builds_is_not_hidden_by_the_others(ray, tmp_path):
    run = ray(tmp_path / "run", *LONG, *cluster.TWO, BUG_AT="model", BUG_ON="1")
    assert run.wait() == 2, run.output
    assert len(run.err) == 1 and run.err[0].startswith("error: worker 1: the task cannot be made: ZeroDivisionError")
    assert "digits.py" in run.err[0] and not run.run_dir.exists()


@pytest.mark.slow  # in one process in tests/actions/test_fault.py
def test_failures_can_be_rehearsed(ray, tmp_path):
    """One worker is slow for a while, and later a gradient is no number."""
    faults = (
        "experiment.run.faults = [@slow/fault.Fault, @wrong/fault.Fault]",
        "slow/fault.Fault.kind = 'sleep'", "slow/fault.Fault.step = 20", "slow/fault.Fault.rank = 1",
        "slow/fault.Fault.times = 60", "slow/fault.Fault.seconds = 0.4",
        "wrong/fault.Fault.kind = 'nan'", "wrong/fault.Fault.step = 100", "wrong/fault.Fault.rank = 1",
    )  # fmt: skip
    flags = ("--gin_file=digits.gin", "--gin_file=overlays/fault.gin", *(f"--gin_param={fault}" for fault in faults))
    run = ray(
        tmp_path / "run",
        *flags,
        *cluster.TWO,
        NOBODY_WAITS,
        "--gin_param=EPOCHS = 8",
        "--gin_param=CHECKPOINT_EVERY = 50",
    )
    assert run.wait() == 1, run.output
    assert run.find(r"^worker 1 is slow: the others wait for it \d+% of the time, at step [2-8]\d$"), run.output
    assert len(run.err) == 1 and "not finite at step" in run.err[0] and run.groups() == 1
    assert reading.checkpoints(run.run_dir)[-1] == 100


@pytest.mark.slow
def test_two_runs_at_once_do_not_meet(own_ray, tmp_path):
    runs = [own_ray(tmp_path / name, *user_code.SHORT, *cluster.TWO) for name in ("a", "b")]
    for run in runs:
        assert run.wait() == 0, run.output
    for run in runs:
        run.require_nothing_left()
        assert run.groups() == 1 and reading.report(run.run_dir)["attempts"] == 1


@pytest.mark.slow  # of one worker above, of all in tests/launch/on_ray/test_restart_policy.py
def test_what_the_workers_find_wrong_is_said_as_in_one_process(ray, tmp_path):
    run_dir = tmp_path / "run"
    run = ray(run_dir, *LONG, *cluster.TWO, "--gin_param=arrays.splits.train = @digits.unequal")
    assert run.wait() == 2
    assert len(run.err) == 1 and run.err[0].startswith("error: ") and "unequal" in run.err[0], run.output
    assert not run_dir.exists(), "something was written"


def test_the_console_of_a_cluster_is_that_of_one_process(undisturbed_run):
    assert undisturbed_run.err == []
    kinds = r"^(starting: |worker [01] |run  |devices  |data  |model  |steps  |actions  |step [\d,]+[ /]|finished at step 256  |watch  )"
    assert [line for line in undisturbed_run.out if not re.match(kinds, line)] == []
    for rank in (0, 1):
        log = undisturbed_run.run_dir / "logs" / f"worker_{rank}.log"
        assert "MultiWorkerMirroredStrategy" in log.read_text()
