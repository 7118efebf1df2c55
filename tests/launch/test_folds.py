"""What a sweep makes of its folds: their commands, their order when one fails or all are stopped, and their numbers."""

import json
import threading
import time
import urllib.request

import pytest
from tensorboard import default, program

from launch.command import Command, ConfigurationSource, Permissions
from launch.fold_results import read, table, write
from launch.folds import of_fold, run_all
from trainer.base.errors import TrainingError
from trainer.lifecycle.stop_requests import StopReason, StopRequests
from trainer.rundir.directory import RunDirectory

PATIENCE = 10.0


def test_the_command_of_a_fold_differs_in_fold_and_folder():
    source = ConfigurationSource(("a.gin", "b.gin"), "cnn", "mirrored", ("EPOCHS = 2",))
    command = Command(source, "/runs/sweep", permissions=Permissions(config_change=True))
    own = of_fold(command, 3)
    params = ("EPOCHS = 2", "FOLD = 3")
    assert own == Command(
        source._replace(gin_params=params), "/runs/sweep/fold_3", permissions=Permissions(config_change=True)
    )
    assert {"--gin_param=FOLD = 3", "--run_dir=/runs/sweep/fold_3"} < set(own.flags())


def test_folds_run_in_order_and_each_gives_its_metrics():
    begun = []
    found = run_all(lambda fold, halt: begun.append(fold) or {"test/loss": fold / 2}, 4, 1, StopRequests())
    assert begun == [0, 1, 2, 3] and found == {fold: {"test/loss": fold / 2} for fold in range(4)}


def test_as_many_run_at_once_as_are_asked_for():
    together = threading.Barrier(3)  # which none passes alone
    found = run_all(lambda fold, halt: {"place": together.wait(PATIENCE)}, 3, 3, StopRequests())
    assert sorted(metrics["place"] for metrics in found.values()) == [0, 1, 2]


def test_a_fold_that_fails_stops_those_beside_it_and_those_to_come():
    beside, stopped = threading.Event(), []

    def run(fold, halt):
        if halt.pending:
            return
        if fold == 1:
            beside.wait(PATIENCE)
            raise TrainingError("fold 1: no")
        beside.set()
        halt.wait(PATIENCE)
        stopped.append((fold, halt.pending))
        return

    requests = StopRequests()
    with pytest.raises(TrainingError, match="fold 1: no"):
        run_all(run, 4, 2, requests)
    assert stopped == [(0, StopReason.TERMINATED)]
    assert not requests.pending, "the first signal must still count as the first"


def test_a_stop_request_reaches_the_folds_and_what_has_finished_counts():
    requests = StopRequests()

    def run(fold, halt):
        if fold == 0:
            return {"test/loss": 1.0}
        requests.ask(StopReason.INTERRUPTED)
        halt.wait(PATIENCE)
        assert halt.pending == StopReason.INTERRUPTED
        return None

    assert run_all(run, 3, 1, requests) == {0: {"test/loss": 1.0}}


def test_a_folds_results_are_those_of_held_out_data(tmp_path):
    report = '{"step": 1, "total_steps": 1, "attempts": 1, "metrics": {"train/loss": 1, "test/loss": 2, "a/b": null}}'
    (tmp_path / "report.json").write_text(report)
    assert read(RunDirectory(tmp_path)) == {"test/loss": 2, "a/b": None}


def test_sweeps_in_one_folder_keep_apart_in_tensorboard(tmp_path):
    for folder, loss in (("a/sweep", 1.0), ("b/sweep", 2.0)):
        (tmp_path / folder).mkdir(parents=True)
        write(RunDirectory(tmp_path / folder), {fold: {"test/loss": loss + fold} for fold in (0, 1)})
    server = program.TensorBoard(plugins=default.get_plugins())
    server.configure([None, "--logdir", str(tmp_path), "--host=127.0.0.1", "--port=0", "--load_fast=false"])
    wanted = {"sliceSize": 100, "allowedStatuses": ["STATUS_UNKNOWN"], "colParams": [{"metric": {"tag": "test/loss"}}]}
    asked = urllib.request.Request(
        f"{server.launch()}data/plugin/hparams/session_groups",
        json.dumps(wanted).encode(),
        {"Content-Type": "application/json"},
    )
    found, deadline = [], time.monotonic() + PATIENCE
    while len(found) < 4 and time.monotonic() < deadline:  # it reads the files in the background
        with urllib.request.urlopen(asked) as reply:
            groups = json.load(reply)["sessionGroups"]
        found = [metric["value"] for each in groups for metric in each["metricValues"]]
    assert sorted(found) == [1.0, 2.0, 2.0, 3.0]


def test_missing_numbers_are_dashes():
    rows = table({1: {"a/loss": 2.0, "b/loss": None}, 0: {"a/loss": 1.0, "b/loss": 1.0, "c/loss": 3.0}}).splitlines()
    assert [row.split() for row in rows] == [
        ["fold", "a/loss", "b/loss", "c/loss"],
        ["0", "1.0000", "1.0000", "3.0000"],
        ["1", "2.0000", "-", "-"],
        ["mean", "1.5000", "-", "-"],
        ["deviation", "0.7071", "-", "-"],
    ]
    assert len({len(row) for row in rows}) == 1
