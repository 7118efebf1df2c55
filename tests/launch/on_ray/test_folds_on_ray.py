"""How long a sweep waits for a node that can hold a fold."""

import pytest

pytest.importorskip("ray", reason="the ray extra is not installed")

from launch.on_ray.cluster import Cluster, PlacementSettings, WorkerResources
from launch.on_ray.folds import wait_for_a_node
from trainer.base.errors import TrainingError
from trainer.lifecycle.stop_requests import StopReason, StopRequests


def cluster(patience):
    return Cluster(lambda: WorkerResources(gpus=2), lambda: PlacementSettings(patience=patience))


def test_where_no_node_can_hold_a_fold_it_gives_up_after_its_patience(capsys):
    with pytest.raises(TrainingError, match=r"no node has {'CPU': 1, 'GPU': 2}.*gives to a fold: lower that, or add"):
        wait_for_a_node(cluster(0), lambda cluster: 0, StopRequests())
    assert capsys.readouterr().out == "waiting for a node that has {'CPU': 1, 'GPU': 2}\n"


def test_where_one_can_nothing_is_said(capsys):
    wait_for_a_node(cluster(0), lambda cluster: 1, StopRequests())
    assert capsys.readouterr().out == ""


def test_a_stop_request_ends_the_wait():
    requests = StopRequests()
    requests.ask(StopReason.TERMINATED)
    wait_for_a_node(cluster(600), lambda cluster: 0, requests)
