"""Learning curves as a picture: what is smoothed how, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from trainer import curves
from trainer.errors import UsageError
from trainer.summaries import Summaries

pytest.importorskip("matplotlib", reason="the tutorial extra is not installed")


@pytest.fixture
def runs(tmp_path):
    """Two run directories with losses of training and evaluation."""
    found = []
    for name in ("one", "two"):
        summaries = Summaries(tmp_path / name / "tensorboard")
        for step in (3, 1, 2):  # in no order, as after a resume
            summaries.scalars("train", step, {"loss": 1.0 / step, "rate": 0.1})
        summaries.scalars("eval", 3, {"loss": 0.5})
        summaries.text("config", "a = 1")
        summaries.commit()
        found.append(tmp_path / name)
    return found


def test_scalars_are_read_in_the_order_of_their_steps(runs):
    found = curves.scalars(runs[0])
    assert found.keys() == {"train", "eval"} and found["train"].keys() == {"loss", "rate"}
    steps, values = found["train"]["loss"]
    assert steps.tolist() == [1, 2, 3]
    np.testing.assert_allclose(values, [1, 1 / 2, 1 / 3], rtol=1e-6)


def test_smoothing_begins_at_the_first_value_and_passes_over_what_is_not_finite():
    np.testing.assert_allclose(curves.smooth(np.array([2.0, 4.0]), 0.5), [2.0, (0.5 * 0.5 * 2 + 0.5 * 4) / 0.75])
    np.testing.assert_allclose(curves.smooth(np.full(5, 3.0), 0.9), 3.0)
    smoothed = curves.smooth(np.array([1.0, np.nan, 1.0]), 0.6)
    np.testing.assert_allclose(smoothed, 1.0)
    np.testing.assert_array_equal(curves.smooth(np.array([1.0, 5.0, 2.0]), 0.0), [1.0, 5.0, 2.0])


def test_runs_are_compared_in_one_picture(runs, tmp_path, capsys):
    output = tmp_path / "c.png"
    assert curves.main([*map(str, runs), f"--output={output}", "--tags=loss,rate"]) == 0
    assert capsys.readouterr().out.strip() == str(output)
    wide = tf.io.decode_png(output.read_bytes()).shape
    assert curves.main([str(runs[0]), f"--output={output}"]) == 0  # what was evaluated: the loss
    assert tf.io.decode_png(output.read_bytes()).shape[1] * 2 == wide[1]


def test_refusals(runs, tmp_path):
    with pytest.raises(UsageError, match="--tags: no run has 'accuracy'; there are: loss, rate"):
        curves.draw(runs, ["accuracy"], 0.6, tmp_path / "c.png")
    with pytest.raises(UsageError, match="--smoothing=1.0: give a number from 0"):
        curves.draw(runs, None, 1.0, tmp_path / "c.png")
    with pytest.raises(UsageError, match="is no run directory with anything in"):
        curves.scalars(tmp_path / "nowhere")
