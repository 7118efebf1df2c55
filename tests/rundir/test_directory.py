"""The run directory: one writer, small files that are never seen half-written, and clear refusals."""

import json
import subprocess
import sys

import pytest

from trainer.base.errors import UsageError
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
    with pytest.raises(UsageError, match="--run_dir=gs://bucket/run: give a folder on this machine"):
        RunDirectory("gs://bucket/run")


def test_paths_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert RunDirectory("run").path == tmp_path / "run"
    assert RunDirectory("~/run").path == tmp_path / "home/run"


def test_a_file_is_replaced_whole(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.acquire()
    directory.write("config.gin", "long " * 1000)
    with (tmp_path / "config.gin").open() as reader:
        directory.write("config.gin", "short")
        assert reader.read() == "long " * 1000  # who has it open goes on reading the old one
    assert (tmp_path / "config.gin").read_text() == "short"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "config.gin"]


def test_reports_come_back(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.acquire()
    directory.write_report({"step": 3, "total_steps": 9, "attempts": 1, "metrics": {"loss": 0.1}})
    assert directory.read_report() == json.loads((tmp_path / "report.json").read_text()) != {}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"status": "finished"}'])
def test_a_report_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(UsageError, match=f"{tmp_path}/report.json cannot be read .*: restore or remove it"):
        RunDirectory(tmp_path).read_report()
