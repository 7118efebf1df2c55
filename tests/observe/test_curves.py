"""Learning curves as a picture: what is smoothed how, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.observe import curves
from trainer.observe.summaries import Summaries

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


def test_runs_of_one_name_are_told_apart(runs, tmp_path, monkeypatch):
    assert list(curves.names(runs).values()) == ["one", "two"]
    monkeypatch.chdir(runs[0])
    assert list(curves.names([Path("."), *runs]).values()) == ["one", "two"]  # each once, however it is written
    assert list(curves.names([tmp_path, runs[0]]).values()) == [tmp_path.name, f"{tmp_path.name}/one"]

    pictures = []
    for names in (("a/pre", "b/pre"), ("c/pre", "d/pre")):
        for run, name in zip(runs, names, strict=True):
            shutil.copytree(run, tmp_path / name)
        curves.draw([tmp_path / name for name in names], None, 0.6, tmp_path / "c.png")
        pictures.append((tmp_path / "c.png").read_bytes())
    assert pictures[0] != pictures[1]  # of the same numbers: by what the legend calls them


def test_a_picture_is_written_whole_where_it_was_said_or_not_at_all(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert curves.main([str(runs[0]), "--output=new/curvy.png"]) == 0
    assert capsys.readouterr().out == "new/curvy.png\n"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["curvy.png"]
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for output in ("curvy", "c.foo", "new", "folder.png", "new/curvy.png/c.png"):
        with pytest.raises(
            UsageError, match=f"^--output={output}(: name a file that ends with .png| cannot be written)"
        ):
            curves.main([str(runs[0]), f"--output={output}"])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"junk" * 100])
def test_a_run_without_numbers_is_named(runs, tmp_path, content):
    empty = tmp_path / "empty" / "tensorboard" / "train"
    empty.mkdir(parents=True)
    (empty / "events.out.tfevents.1").write_bytes(content)
    with pytest.raises(UsageError, match="^/.*/empty has logged no numbers yet"):
        curves.draw([runs[0], tmp_path / "empty"], None, 0.6, tmp_path / "c.png")


def test_refusals(runs, tmp_path):
    with pytest.raises(UsageError, match="--tags: no run has 'accuracy'; there are: loss, rate"):
        curves.draw(runs, ["accuracy"], 0.6, tmp_path / "c.png")
    with pytest.raises(UsageError, match="--smoothing=1.0: give a number from 0"):
        curves.draw(runs, None, 1.0, tmp_path / "c.png")
    with pytest.raises(UsageError, match="is no run directory with anything in"):
        curves.scalars(tmp_path / "nowhere")
