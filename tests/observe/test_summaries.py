"""What TensorBoard finds, and that a run that goes on from a checkpoint shows every step once."""

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from trainer.observe.summaries import Summaries
from trainer.storage.local import LocalStore


def opened(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    return accumulator.Reload()


def scalars(folder, name):
    """[(step, value)] that TensorBoard finds, by step: it reads files of one second in the order of their names."""
    events = opened(folder).Tensors(name)
    return sorted((event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in events)


def test_scalars(tmp_path):
    summaries = Summaries(tmp_path / "tensorboard")
    summaries.scalars("train", 10, {"loss": 0.5, "accuracy": 0.25})
    summaries.scalars("train", 20, {"loss": 0.25})
    summaries.scalars("eval", 20, {"loss": 1.5})
    summaries.commit()
    assert scalars(tmp_path / "tensorboard/train", "loss") == [(10, 0.5), (20, 0.25)]
    assert scalars(tmp_path / "tensorboard/train", "accuracy") == [(10, 0.25)]
    assert scalars(tmp_path / "tensorboard/eval", "loss") == [(20, 1.5)]


def test_texts_are_shown_as_they_are(tmp_path):
    summaries = Summaries(tmp_path)
    summaries.text("config.gin", "a = 1\n# b")
    summaries.commit()
    (event,) = opened(tmp_path / "train").Tensors("config.gin")
    assert tensor_util.make_ndarray(event.tensor_proto).item() == b"    a = 1\n    # b"


def test_the_graph(tmp_path):
    summaries = Summaries(tmp_path)
    summaries.graph(tf.function(lambda x: tf.add(x, 1.0, name="plus")).get_concrete_function(tf.TensorSpec([])).graph)
    summaries.commit()
    graph = opened(tmp_path / "train").Graph()
    assert "plus" in [node.name for node in graph.node]


def test_nothing_is_made_before_the_first_value(tmp_path):
    summaries = Summaries(tmp_path / "tensorboard")
    assert summaries.commit() == {"own": {}, "earlier": {}}
    summaries.rewind(LocalStore(tmp_path), "tensorboard", {})
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize("committed_at", [0, 3, 9])
@pytest.mark.parametrize("large", [0, 1 << 20])
def test_going_on_shows_every_step_once(tmp_path, monkeypatch, committed_at, large):
    """The first attempt writes up to step 9 and dies; the second goes on from the commit. large: of an event file."""
    monkeypatch.setattr("trainer.observe.summaries._LARGE", large)
    first, committed = Summaries(tmp_path), {}
    for step in range(1, 10):
        first.scalars("train", step, {"loss": 1.0})
        first.scalars("eval/test", step, {"loss": 1.0})
        if step % 3 == 0:
            lengths = first.commit()
            committed = lengths if step == committed_at else committed
    second = Summaries(tmp_path)
    second.rewind(LocalStore(tmp_path.parent), tmp_path.name, committed)
    for step in range(committed_at + 1, 13):
        second.scalars("train", step, {"loss": 2.0})
        second.scalars("eval/test", step, {"loss": 2.0})
    assert committed.get("own", {}).items() <= second.commit()["earlier"].items()
    if large:  # the first one lives, has its files open, and does not know that it is over
        first.scalars("train", 10, {"loss": 3.0})
        first.commit()
    for run in ("train", "eval/test"):
        expected = [(step, 1.0 if step <= committed_at else 2.0) for step in range(1, 13)]
        assert scalars(tmp_path / run, "loss") == expected
        assert large == 0 or len(list((tmp_path / run).iterdir())) == 2, "one for each attempt, not for each commit"


def test_what_is_written_counts_as_progress(tmp_path, progress):
    summaries = Summaries(tmp_path / "tensorboard")
    samples = {"images/a": np.zeros((2, 4, 4, 1)), "images/b": np.zeros((2, 4, 4, 1)), "text/c": np.array([b"said"])}
    assert progress(summaries.samples, 10, samples) == 3
    assert progress(summaries.embedding, ["", "cat", "dog"], np.zeros((3, 2))) == 4  # two words in two files
