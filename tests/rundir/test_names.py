"""Run directories of any name: it is taken literally, whatever it means to a library."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.observe.summaries import Summaries
from trainer.rundir.checkpoints import Checkpoints
from trainer.rundir.directory import TENSORBOARD, RunDirectory

PATTERNS = [
    "lr=[0.1,0.2]",
    "*",
    "?",
    "{x,y}",
    "a\\b",
    "#%25",
    "quote'\"",
    "two\nlines",
    "日本",
    " ",
    "$HOME",
    "~",
    "..x",
    "-x",
]
NOT_UTF8 = [os.fsdecode(b"\xff\xfe"), os.fsdecode(b"a\x80*")]
# What a file system takes for a name.
names = st.binary(min_size=1, max_size=60).filter(lambda name: b"/" not in name and b"\0" not in name).map(os.fsdecode)


def use(place):
    """Trains for a moment, as far as the run directory can tell; returns what a second command finds there."""
    first = RunDirectory(place)
    first.acquire()
    attempt = first.claim()
    first.write("config.gin", "a = 1")
    summaries = Summaries(first.path / TENSORBOARD, first.writing)
    summaries.scalars("train", 1, {"loss": 0.5})
    checkpoints = Checkpoints(first.store, attempt, print, first.committing)
    checkpoints.save(1, {"weights": np.arange(3)}, {"event_files": summaries.commit()})
    checkpoints.wait()
    summaries.close()
    first.write_report({"step": 1, "total_steps": 1, "attempts": attempt})
    first.close()
    second = RunDirectory(place)
    second.acquire()
    saved = Checkpoints(second.store, second.claim(), print, second.committing).restore(set_bad_aside=True)
    found = saved.values["weights"].tolist(), saved.notes["event_files"], second.read_report()["attempts"]
    second.close()
    return found


def require_literal(folder, name):
    weights, events, attempts = use(folder / name)
    assert weights == [0, 1, 2] and len(events["own"]) == 1 and attempts == 1
    assert os.listdir(folder) == [name], "nothing beside it"
    there = {"checkpoints", "config.gin", "report.json", "tensorboard", ".lock", ".fence"}
    assert set(os.listdir(folder / name)) == there


@pytest.mark.parametrize("name", [*PATTERNS, *NOT_UTF8])
def test_names_that_mean_something_elsewhere(tmp_path, name):
    require_literal(tmp_path, name)


@given(names)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_name(name):
    if name in (".", ".."):
        return
    with tempfile.TemporaryDirectory() as folder:
        require_literal(Path(folder), name)
