"""The run directory: one writer, small files that are never seen half-written, and clear refusals."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from trainer.base.errors import TrainingError, UsageError
from trainer.observe.summaries import Summaries
from trainer.rundir.checkpoints import Checkpoints
from trainer.rundir.directory import RunDirectory


def test_nothing_is_made_before_it_is_acquired(tmp_path):
    directory = RunDirectory(tmp_path / "a/b")
    directory.require_free()
    assert directory.read_report() == {}
    assert not (tmp_path / "a").exists()
    directory.acquire()
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == [".lock"]


def test_a_second_writer_is_refused(tmp_path):
    first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
    first.acquire()
    first.acquire()  # the writer itself may ask again
    for attempt in (second.require_free, second.acquire):
        with pytest.raises(UsageError, match=rf"--run_dir={tmp_path} is in use by process \d+ on .*: wait for it"):
            attempt()


@pytest.mark.process
def test_the_lock_ends_with_the_process_however_it_ends(tmp_path):
    program = (
        "import os, sys; from trainer.rundir.directory import RunDirectory; directory = RunDirectory(sys.argv[1]); "
        "directory.acquire(); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(UsageError, match=f"in use by process {holder.pid} on "):
        RunDirectory(tmp_path).require_free()
    holder.kill()
    holder.communicate()
    RunDirectory(tmp_path).acquire()


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(UsageError, match=f"--run_dir={path} cannot be written to: "):
            RunDirectory(path).acquire()
    with pytest.raises(UsageError, match="ftp://bucket/run: there is no ftp:// here"):
        RunDirectory("ftp://bucket/run")


def test_paths_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert RunDirectory("run").path == tmp_path / "run"
    assert RunDirectory("~/run").path == tmp_path / "home/run"


def test_a_file_is_replaced_whole(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.acquire()
    directory.claim()
    directory.write("config.gin", "long " * 1000)
    with (tmp_path / "config.gin").open() as reader:
        directory.write("config.gin", "short")
        assert reader.read() == "long " * 1000  # who has it open goes on reading the old one
    assert (tmp_path / "config.gin").read_text() == "short"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fence", ".lock", "config.gin"]


def test_reports_come_back(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.acquire()
    directory.claim()
    directory.write_report({"step": 3, "total_steps": 9, "attempts": 1, "metrics": {"loss": 0.1}})
    assert directory.read_report() == json.loads((tmp_path / "report.json").read_text()) != {}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"status": "finished"}'])
def test_a_report_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(UsageError, match=f"{tmp_path}/report.json cannot be read .*: restore or remove it"):
        RunDirectory(tmp_path).read_report()


def test_attempts_are_numbered_by_the_fence(tmp_path):
    first, second, third = (RunDirectory(tmp_path) for _ in range(3))
    assert not first.has_begun
    assert (first.claim(), second.claim()) == (1, 2) and third.has_begun
    (tmp_path / ".fence").unlink()
    (tmp_path / "report.json").write_text('{"step": 3, "total_steps": 9, "attempts": 4}')
    assert third.claim() == 5, "a copy without hidden files goes on where the report ends"


def test_an_attempt_that_wrote_nothing_gives_its_number_back(tmp_path):
    first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
    first.claim()
    first.write("config.gin", "")
    first.give_back()  # it has begun
    second.claim()
    second.give_back()
    first.write("config.gin", "again")
    assert RunDirectory(tmp_path).claim() == 2


WRITES = {
    "a small file": lambda place: place.directory.write("operative_config.gin", "old"),
    "the report": lambda place: place.directory.write_report({"step": 9, "total_steps": 9, "attempts": 1}),
    "the journal": lambda place: place.directory.write_journal({"at": 1.0}),
    "a checkpoint": lambda place: (place.checkpoints.save(40, {"w": np.zeros(3)}, {}), place.checkpoints.wait()),
    "damage set aside": lambda place: place.checkpoints.restore(set_bad_aside=True),
    "an event file": lambda place: place.summaries.scalars("train", 7, {"loss": 1.0}),
    "a picture": lambda place: place.summaries.samples(7, {"images/a": np.zeros([1, 4, 4, 1], np.uint8)}),
    "word vectors": lambda place: place.summaries.embedding(["a"], np.zeros([1, 2])),
}


def content(folder):
    """Every file but what a later attempt cleans up."""
    paths = (path for path in folder.rglob("*") if path.is_file() and ".attempt_1" not in str(path))
    return {str(path): path.read_bytes() for path in paths}


class Place:
    """An attempt, with all that writes to a run directory."""

    def __init__(self, path):
        self.directory = RunDirectory(path)
        self.attempt = self.directory.claim()
        committing = self.directory.committing
        self.checkpoints = Checkpoints(self.directory.store, self.attempt, print, committing, keep=1)
        self.summaries = Summaries(path / "tensorboard", committing)


@pytest.mark.parametrize("what", WRITES)
def test_an_attempt_that_is_over_changes_nothing_whenever_it_wakes_up(tmp_path, what):
    """It was partitioned, or stopped, and knows nothing of the next one."""
    old = Place(tmp_path)
    old.checkpoints.save(30, {"w": np.ones(3)}, {})
    old.checkpoints.wait()
    new = Place(tmp_path)
    if what == "damage set aside":
        (tmp_path / "checkpoints/step_00000030/manifest.json").write_text("{}")
    before = content(tmp_path)
    with pytest.raises(TrainingError, match="attempt 1 at .* is over, since attempt 2 has begun"):
        WRITES[what](old)
    assert content(tmp_path) == before
    new.checkpoints.clean()
    new.checkpoints.save(50, {"w": np.ones(3)}, {})
    new.checkpoints.wait()
    new.directory.write("config.gin", "new")


def test_nobody_claims_while_another_writes(tmp_path):
    old, new, order = RunDirectory(tmp_path), RunDirectory(tmp_path), []
    old.claim()

    def claim():
        new.claim()
        order.append("claimed")

    with old.committing():
        old.write("config.gin", "")  # within what it writes already
        claiming = threading.Thread(target=claim)
        claiming.start()
        claiming.join(0.5)
        order.append("written")
    claiming.join(20)
    assert order == ["written", "claimed"]


def test_who_wakes_up_before_it_has_claimed_does_not_make_its_successor_fail(tmp_path):
    present = {"old": True}
    old = RunDirectory(tmp_path, locked=True, may_begin=lambda: present["old"])
    new = RunDirectory(tmp_path, locked=True)
    RunDirectory(tmp_path).claim()
    present["old"] = False  # its group is not the one that is followed any more
    assert new.claim() == 2
    new.write("config.gin", "new")
    with pytest.raises(TrainingError, match="this process may no longer begin an attempt"):
        old.claim()
    new.write("config.gin", "newer")


def test_who_has_lost_its_lock_to_another_begins_nothing(tmp_path):
    old, new = RunDirectory(tmp_path), RunDirectory(tmp_path)
    old.acquire()
    (tmp_path / ".lock").unlink()
    new.acquire()
    assert new.claim() == 1
    with pytest.raises(TrainingError, match="may no longer begin"):
        old.claim()


@pytest.mark.parametrize("content", [b"", b"\0" * 20, b"nonsense"])
def test_a_fence_that_was_lost_begins_where_the_report_ends(tmp_path, content):
    """As a loss of power may leave it."""
    (tmp_path / ".fence").write_bytes(content)
    (tmp_path / "report.json").write_text('{"step": 3, "total_steps": 9, "attempts": 4}')
    directory = RunDirectory(tmp_path)
    assert directory.claim() == 5 and RunDirectory(tmp_path).is_claimed(5)
