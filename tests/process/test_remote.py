"""A run directory on an object store: the same command, the same numbers, the same refusals. The server is moto's."""

import campaign
import cluster
import pytest
import reading
import s3_server
import user_code

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def s3():
    server = s3_server.Server()
    yield server
    server.close()


@pytest.mark.parametrize("kills, seed", [(2, 4), pytest.param(10, 5, marks=pytest.mark.slow)])
def test_kills_change_nothing(start, undisturbed, s3, tmp_path, kills, seed):
    url = f"{s3.bucket()}/runs/lr=[0.1] *"
    place = reading.OnS3(url, s3.environment)
    found = campaign.run(
        lambda: start(*user_code.LONG, f"--run_dir={url}", **s3.environment), place, kills, seed
    )  # fmt: skip
    assert len(found.kills) == kills
    reading.require_equal(undisturbed, place.download(tmp_path / "run"))


def test_other_modes_find_the_run_there(convoy, s3, tmp_path):
    url = f"{s3.bucket()}/run"
    place, where = reading.OnS3(url, s3.environment), f"--run_dir={url}"
    trained = convoy(*user_code.SHORT, where, **s3.environment)
    assert trained.code == 0, trained.err
    evaluated = convoy("--mode=evaluate", where, f"--output={tmp_path / 'found.json'}", **s3.environment)
    assert evaluated.code == 0 and "step 3  test" in evaluated.out, evaluated.err
    predicted = convoy("--mode=predict", where, **s3.environment)
    assert predicted.code == 0 and f"{url}/predictions.npz" in predicted.out, predicted.err
    assert (place.download(tmp_path / "run") / "predictions.npz").stat().st_size > 0
    again = convoy(*user_code.SHORT, where, **s3.environment)
    assert again.code == 0 and "this run is finished" in again.out
    other = convoy(*user_code.SHORT, "--gin_param=LEARNING_RATE = 0.5", where, **s3.environment)
    assert other.code == 2 and "another configuration" in other.err


def test_a_second_process_is_refused_and_a_dead_one_is_replaced(start, convoy, s3, tmp_path):
    go_on, where = tmp_path / "go on", f"--run_dir={s3.bucket()}/run"
    first = start(*user_code.SHORT, where, HOLD_AT="2", HOLD_UNTIL=str(go_on), **s3.environment)
    assert first.wait_for("^at step 2$"), first.output
    second = convoy(*user_code.SHORT, where, **s3.environment)
    assert second.code == 2 and f"is in use by process {first.pid} on" in second.err, second.err
    first.kill()
    first.wait()
    third = convoy(*user_code.SHORT, where, **s3.environment)
    assert third.code == 0 and f"to see whether process {first.pid}" in third.out, third.err


@pytest.mark.parametrize(
    "run_dir, more, says",
    [
        ("s3://no-such-bucket/run", {}, ["s3://no-such-bucket/run cannot be used", "name a bucket that exists"]),
        (
            "s3://bucket/run",
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            ["no credentials", "AWS_ACCESS_KEY_ID"],
        ),
        ("s3://", {}, ["names no bucket"]),
        ("ftp://bucket/run", {}, ["there is no ftp://"]),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_in_one_line(convoy, s3, run_dir, more, says):
    environment = s3.environment | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": "/none"} | more
    refused = convoy(*user_code.SHORT, f"--run_dir={run_dir}", **environment)
    assert refused.code == 2 and len(refused.err.splitlines()) == 1, refused.err
    assert all(text in refused.err for text in says), refused.err


@pytest.mark.cluster
def test_two_workers_on_ray(folder, s3, undisturbed, tmp_path):
    url = f"{s3.bucket()}/run"
    place = reading.OnS3(url, s3.environment)
    run = cluster.RayRun(url, *user_code.LONG, *cluster.TWO, cwd=folder, **s3.environment)
    try:
        assert run.wait() == 0, run.output
        run.require_nothing_left()
    finally:
        run.end()
    local = place.download(tmp_path / "run")
    assert reading.report(local)["input_digest"] == reading.report(undisturbed)["input_digest"]
    logs = [path.name for path in (local / "logs").iterdir()]
    assert [sum(name.startswith(who) for name in logs) for who in ("driver", "worker_0", "worker_1")] == [1, 1, 1], logs
