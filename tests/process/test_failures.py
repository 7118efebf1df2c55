"""A run that fails: exit 1, a message or the user's own line, and the checkpoint before it intact."""

import numpy as np
import pytest
import reading
import user_code

pytestmark = pytest.mark.process

TOO_FAST = (*user_code.SHORT, "--gin_param=LEARNING_RATE = 1e30", "--gin_param=CHECKPOINT_EVERY = 1")


def test_a_loss_that_is_not_finite(convoy, tmp_path):
    run_dir = tmp_path / "run"
    # It shows one step after the first, whose checkpoint is still being written then.
    for _ in range(2):  # the second time it goes on from that checkpoint
        result = convoy(*TOO_FAST, "--model=cnn", f"--run_dir={run_dir}")
        assert result.code == 1, result.out + result.err
        assert "not finite" in result.err and "step 2" in result.err and "learning rate" in result.err
        assert "Traceback" not in result.err
        assert reading.checkpoints(run_dir) == [1]
        assert reading.report(run_dir)["step"] == 1
        _require_finite(run_dir)


def test_weights_that_are_not_finite_are_not_saved(convoy, tmp_path):
    """The loss of a training batch may stay finite while the moving statistics do not."""
    run_dir = tmp_path / "run"
    result = convoy(*TOO_FAST, f"--run_dir={run_dir}")
    assert result.code == 1, result.out + result.err
    assert "not finite" in result.err and "Traceback" not in result.err
    _require_finite(run_dir)


def _require_finite(run_dir):
    for step in reading.checkpoints(run_dir):
        state = reading.tensors(run_dir, step)
        assert [name for name, tensor in state.items() if not np.isfinite(tensor).all()] == [], step


def test_an_error_in_the_users_model_shows_the_users_line(convoy, tmp_path):
    result = convoy(*user_code.SHORT, "--gin_param=supervised.Supervised.model = @digits.Faulty",
                    f"--run_dir={tmp_path / 'run'}")  # fmt: skip
    assert result.code == 2 and not (tmp_path / "run").exists()
    assert "digits.py:" in result.err and "self.no_such_layer(images)" in result.err
    assert "AttributeError" in result.err and "Traceback" not in result.err


def test_a_run_that_failed_before_it_saved_anything_may_begin_otherwise(convoy, tmp_path):
    run_dir = tmp_path / "run"
    hopeless = convoy(*user_code.SHORT, "--gin_param=LEARNING_RATE = 1e38", f"--run_dir={run_dir}")
    assert hopeless.code == 1 and "learning rate" in hopeless.err
    assert reading.checkpoints(run_dir) == []
    mended = convoy(*user_code.SHORT, f"--run_dir={run_dir}")
    assert mended.code == 0, mended.err
    assert reading.report(run_dir)["attempts"] == 2
