"""What a process does that was started with others, when one of them is lost; with a loop that only raises."""

import json

import pytest
import tensorflow as tf

from launch import local
from launch.command import Command, ConfigurationSource
from trainer.base.errors import TrainingError
from trainer.lifecycle.stop_requests import StopRequests
from trainer.rundir.directory import RunDirectory

DIRECT = (
    "Collective ops is aborted by: Socket closed\nAdditional GRPC error information from remote target "
    "/job:worker/replica:0/task:2 while calling /tensorflow.WorkerService/RecvBuf:"
)
TOLD = (
    "Collective ops is aborted by: Error reported from /job:worker/task:2: The following tasks are unhealthy (stopped "
    "sending heartbeats):\n/job:worker/replica:0/task:2\nThe tasks have crashed."
)


class Waited(StopRequests):
    """Stop requests that nobody makes."""

    seconds = 0.0

    def wait(self, seconds):
        self.seconds += seconds


class Signals:
    def __init__(self):
        self.stop_requests = Waited()


def launch(monkeypatch, tmp_path, error):
    """Of rank 0, whose experiment raises the error; returns how long it waited and what it raised."""

    def run(invocation):
        raise error

    addresses = [f"host:{1000 + rank}" for rank in range(3)]
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": addresses}, "task": task}))
    monkeypatch.setattr(local.process, "run", run)
    command, signals = Command(ConfigurationSource(("a.gin",)), str(tmp_path)), Signals()
    with pytest.raises((TrainingError, ZeroDivisionError)) as caught:
        local.launch(command, "", RunDirectory(tmp_path), signals, 0.0)
    return signals.stop_requests.seconds, caught.value


def test_whoever_notices_a_loss_itself_stays_until_the_others_know(monkeypatch, tmp_path):
    for text, stays in ((DIRECT, True), (TOLD, False)):
        waited, raised = launch(monkeypatch, tmp_path, tf.errors.UnavailableError(None, None, text))
        assert isinstance(raised, TrainingError) and raised.message.startswith("worker 2 (host:1002) was lost, ")
        assert (waited > 11) is stays, "what TensorFlow's heartbeats take"


def test_an_error_of_this_worker_itself_is_passed_on(monkeypatch, tmp_path):
    bug = ZeroDivisionError("division by zero")
    assert launch(monkeypatch, tmp_path, bug) == (0.0, bug)
