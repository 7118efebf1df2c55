"""Processes that train together without Ray, as TF_CONFIG says; and what is refused of several workers at all."""

import json
import re
import socket

import pytest
import reading
import user_code

pytestmark = pytest.mark.process

FLAGS = (*user_code.SHORT, "--gin_param=SHARDS = 2", "--strategy=multi_worker")


def config(addresses, index):
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


@pytest.fixture
def addresses():
    """Two of this machine that nobody else uses."""
    ports = [socket.socket() for _ in range(2)]
    for port in ports:
        port.bind(("127.0.0.1", 0))
    found = [f"127.0.0.1:{port.getsockname()[1]}" for port in ports]
    for port in ports:
        port.close()
    return found


@pytest.fixture
def two(start, addresses):
    """Starts two processes that train together, with more arguments of each."""

    def start_two(*arguments, more=((), ())):
        return [start(*arguments, *more[index], TF_CONFIG=config(addresses, index)) for index in range(2)]

    return start_two


@pytest.mark.parametrize("devices", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_two_processes_with_a_tf_config_train_as_one(two, convoy, tmp_path, devices):
    alone, run_dir = tmp_path / "alone", tmp_path / "run"
    shards = f"--gin_param=SHARDS = {2 * devices}"
    assert convoy(*user_code.SHORT, shards, f"--run_dir={alone}").code == 0
    flags = (*FLAGS, shards, f"--gin_param=strategies.multi_worker.virtual_cpus = {devices}")
    for run in two(*flags, f"--run_dir={run_dir}"):
        assert run.wait() == 0, run.output
    found, expected = reading.report(run_dir), reading.report(alone)
    assert (found["num_replicas"], found["attempts"]) == (2 * devices, 1)
    assert found["input_digest"] == expected["input_digest"]
    assert found["metrics"] == pytest.approx(expected["metrics"], rel=1e-4)
    # What several processes trained, one evaluates.
    evaluated = convoy("--mode=evaluate", f"--run_dir={run_dir}")
    assert evaluated.code == 0 and "step 3  test" in evaluated.out, evaluated.err


DISAGREE = {
    "an action": (
        [["--gin_param=experiment.run.more_actions = [@digits.Trace, @digits.ByRank]"]] * 2, 1,
        "the action ByRank ends the run at step 2 on rank 1 and not on rank 0: its answer must be the same on all ranks",
    ),
    "their data": (
        [["--gin_param=arrays.splits.train = @digits.of_its_own"]] * 2, 2, "rank 1 reads other data than rank 0",
    ),
    "their flags": (
        [["--gin_param=LEARNING_RATE = 2e-3"], []], 2, "rank 1 was started with another configuration than rank 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("more, code, says", DISAGREE.values(), ids=DISAGREE)
def test_workers_that_do_not_agree_are_told_so_all_of_them(two, tmp_path, more, code, says):
    flags = [flag for flag in FLAGS if "digits.train.examples" not in flag or "of_its_own" not in str(more)]
    for run in two(*flags, f"--run_dir={tmp_path / 'run'}", "--gin_param=STEPS_PER_LOOP = 1", more=more):
        assert run.wait() == code, run.output
        assert len(run.err) == 1 and run.err[0].startswith(f"error: {says}"), run.output
    assert (tmp_path / "run").exists() == (code == 1)


def test_a_lost_worker_is_named_by_the_others_in_one_line(two, tmp_path, addresses):
    """Rank 0, which TensorFlow's coordination service goes with, so that nobody is left to tell of the loss."""
    flags = (*user_code.LONG, "--gin_param=SHARDS = 2", "--strategy=multi_worker", f"--run_dir={tmp_path / 'run'}")
    lost, left = two(*flags)
    assert lost.wait_for("at step 10$"), lost.output
    lost.kill()
    assert left.wait() == 1, left.output
    (line,) = left.err
    assert line.startswith(f"error: worker 0 ({addresses[0]}) was lost, ") and "start all workers again" in line


@pytest.mark.parametrize(
    "text, says",
    [
        ("{", "it is not JSON"),
        ('{"cluster": {}}', "it needs 'cluster' and 'task'"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}', "'ps'"),
        (config(["a:1", "b:1"], 2), "no worker 2"),
        (config(["a"], 0), "not a list of strings like"),
    ],
)
def test_a_tf_config_that_is_malformed(convoy, tmp_path, text, says):
    result = convoy(*FLAGS, f"--run_dir={tmp_path / 'x'}", TF_CONFIG=text)
    assert result.code == 2 and result.err.startswith("error: TF_CONFIG cannot be used") and says in result.err
    assert len(result.err.splitlines()) == 1 and not (tmp_path / "x").exists()


REFUSED = {
    "no workers": (["--launcher=ray", "--num_workers=0"], ["--num_workers=0", "at least 1"]),
    "workers that are no number": (["--launcher=ray", "--num_workers=two"], ["--num_workers=two"]),
    "more at least than at most": (["--launcher=ray", "--num_workers=3:2"], ["--num_workers=3:2", "MIN:MAX"]),
    "workers without a launcher": (["--num_workers=2"], ["--num_workers=2", "--launcher=ray"]),
    "a strategy of one process": (
        ["--launcher=ray", "--num_workers=2"],
        ["--num_workers=2", "--strategy=multi_worker"],
    ),
    "evaluating on Ray": (["--launcher=ray", "--mode=evaluate"], ["--mode=evaluate", "drop --launcher=ray"]),
    "several workers and nobody who says which": (["--strategy=multi_worker"], ["TF_CONFIG", "--launcher=ray"]),
}


@pytest.mark.parametrize("strategy", [(), ("--strategy=mirrored",)], ids=["default", "mirrored"])
def test_workers_of_a_tf_config_do_not_train_each_by_itself(convoy, tmp_path, strategy):
    result = convoy(*user_code.SHORT, "--gin_param=SHARDS = 2", *strategy, f"--run_dir={tmp_path / 'x'}",
                    TF_CONFIG=config(["a:1", "b:1"], 1))  # fmt: skip
    assert result.code == 2, result.err
    said = (
        "error: TF_CONFIG names 2 workers, but the strategy is of 1.*: add --strategy=multi_worker, or unset TF_CONFIG"
    )
    assert re.match(said, result.err) and len(result.err.splitlines()) == 1 and not (tmp_path / "x").exists()


@pytest.mark.parametrize("arguments, says", REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_of_several_workers(convoy, tmp_path, arguments, says):
    if "--launcher=ray" in arguments:
        pytest.importorskip("ray", reason="the ray extra is not installed")
    reading.refuse(convoy, *user_code.SHORT, *arguments, says=says, run_dir=tmp_path / "x")
