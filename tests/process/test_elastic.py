"""Nodes come and go during a run: it grows and shrinks with them, and comes to what one worker alone comes to."""

import socket
import time

import cluster
import pytest
import reading

cluster.require_ray()
pytestmark = [pytest.mark.process, pytest.mark.cluster]

FLAGS = ("--gin_file=digits.gin", "--model=mlp", "--gin_param=EPOCHS = 8", "--gin_param=STEPS_PER_LOOP = 1",
         "--gin_param=CHECKPOINT_EVERY = 50", "--gin_param=log.Log.every = 1")  # fmt: skip


@pytest.fixture
def nodes(tmp_path_factory):
    """A cluster with one node, of one CPU, on which steps are slow enough to see nodes come."""
    found = cluster.Nodes(tmp_path_factory.mktemp("r"), PACE="0.1")
    yield found
    found.end()


def grow(nodes, run, run_dir, attempt):
    """A node comes; returns its raylet."""
    added = nodes.add()
    assert run.wait_for(f"attempt {attempt}$"), run.output
    assert len(run.workers()) == 2
    run.wait_for_step(run.step() + 10)
    return added


def drain(nodes, run, run_dir, raylet, attempt):
    before = reading.report(run_dir)["repeated_steps"]
    nodes.drain(raylet, seconds=60)
    assert run.wait_for(f"attempt {attempt}$"), run.output
    assert run.find("^starting again: a worker that was told to leave$"), run.output
    assert reading.report(run_dir)["repeated_steps"] == before, "a notice that was long enough"


def lose(nodes, run, run_dir, raylet, attempt):
    cluster.kill([raylet])
    lost = time.monotonic()
    assert run.wait_for(f"attempt {attempt}$"), run.output
    print(f"from the death of a node to training on another one: {time.monotonic() - lost:.1f} s")
    assert run.find("was lost: its (node|process) has died"), run.output


@pytest.mark.parametrize(
    "ways_back, devices",
    [([lose], 2), pytest.param([drain, lose], 1, marks=pytest.mark.slow)],
    ids=["once, of two devices", "twice"],
)
def test_from_one_worker_to_two_and_back(nodes, folder, convoy, tmp_path, ways_back, devices):
    alone, run_dir = tmp_path / "alone", tmp_path / "run"
    assert convoy(*FLAGS, f"--gin_param=SHARDS = {2 * devices}", f"--run_dir={alone}").code == 0
    # The same kind of strategy all along: it is the number of workers that changes. Nobody names the shards: there are as
    # many as replicas at most.
    run = cluster.RayRun(run_dir, *FLAGS, "--launcher=ray", "--strategy=multi_worker", "--num_workers=1:2",
                         f"--gin_param=strategies.multi_worker.virtual_cpus = {devices}",
                         "--gin_param=cluster.PlacementSettings.replacement = 5", cwd=folder, **nodes.access())  # fmt: skip
    try:
        run.wait_for_step(20)
        assert len(run.workers()) == 1
        attempt = 1
        for way in ways_back:
            raylet = grow(nodes, run, run_dir, attempt + 1)
            way(nodes, run, run_dir, raylet, attempt + 2)
            attempt += 2
        assert run.wait() == 0, run.output
    finally:
        run.end()

    report = reading.report(run_dir)
    assert report["attempts"] == attempt and report["num_replicas"] == devices
    assert report["input_digest"] == reading.report(alone)["input_digest"]
    expected, found = (reading.scalars(place, "train")["loss"] for place in (alone, run_dir))
    assert [step for step, _ in found] == [step for step, _ in expected]
    for (step, wanted), (_, loss) in zip(expected, found, strict=True):
        assert loss == pytest.approx(wanted, rel=1e-4), f"step {step}"


def test_a_cluster_that_is_not_there_is_bad_usage(folder, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        run = cluster.RayRun(tmp_path / "run", *FLAGS, *cluster.TWO, cwd=folder, RAY_ADDRESS=address)
        try:
            assert run.wait() == 2
        finally:
            run.end()
    assert len(run.err) == 1 and run.err[0].startswith(f"error: RAY_ADDRESS={address}: nobody answers there"), (
        run.output
    )
    assert not (tmp_path / "run").exists()
