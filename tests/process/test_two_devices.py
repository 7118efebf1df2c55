"""One replica and two virtual devices: the same examples and losses, and a run may change between them."""

import signal

import pytest
import reading
import user_code

pytestmark = pytest.mark.process

# SGD: Adam makes large differences of the rounding of gradients that are nearly zero.
COMMAND = (
    *user_code.SHORT, "--gin_param=SHARDS = 2", "--gin_param=CHECKPOINT_EVERY = 1", "--gin_param=EPOCHS = 4",
    "--gin_param=supervised.Supervised.optimizer = @keras.optimizers.SGD", "--gin_param=LEARNING_RATE = 1e-2",
    "--gin_param=keras.optimizers.SGD.learning_rate = %LEARNING_RATE",
)  # fmt: skip


def test_two_devices_compute_what_one_does_and_take_over_from_it(convoy, tmp_path):
    one, two, both = tmp_path / "one", tmp_path / "two", tmp_path / "both"
    assert convoy(*COMMAND, f"--run_dir={one}").code == 0
    assert convoy(*COMMAND, "--strategy=mirrored", f"--run_dir={two}").code == 0

    assert convoy(*COMMAND, f"--run_dir={both}", KILL_AT="7").code == -signal.SIGKILL
    rest = convoy(*COMMAND, "--strategy=mirrored", f"--run_dir={both}")
    assert rest.code == 0, rest.err
    assert "goes on from step 6," in rest.out or "goes on from step 5," in rest.out

    reports = [reading.report(run_dir) for run_dir in (one, two, both)]
    assert [report["num_replicas"] for report in reports] == [1, 2, 2]
    assert len({report["input_digest"] for report in reports}) == 1
    for report in reports:
        assert report["metrics"] == pytest.approx(reports[0]["metrics"], rel=1e-4)
    losses = [dict(reading.scalars(run_dir, "train")["loss"]) for run_dir in (one, two, both)]
    assert losses[0].keys() == losses[1].keys() == losses[2].keys()
    for other in losses[1:]:
        assert list(other.values()) == pytest.approx(list(losses[0].values()), rel=1e-4)
