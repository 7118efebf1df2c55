"""The folds of a sweep on Ray: a task each, which runs the fold as a process of its node, as launch/folds.py does."""

import signal
import time
from collections.abc import Callable

import ray

from launch import folds, prepare
from launch.command import Command
from launch.fold_results import Metrics
from launch.on_ray import placement, prestart, session
from launch.on_ray.cluster import Cluster
from launch.origin import Origin
from trainer.base.errors import TrainingError
from trainer.config import text
from trainer.lifecycle.quiet_imports import quiet_imports
from trainer.lifecycle.stop_requests import StopReason, StopRequests
from trainer.rundir.directory import RunDirectory

_SECONDS_BETWEEN_LOOKS = 0.05


def run_all(command: Command, number: int, requests: StopRequests) -> dict[int, Metrics]:
    """Runs as many folds at a time as there is room for on all nodes; returns the metrics of those that have finished.

    Args:
      command: of the sweep, whose run directory is on a path that all nodes share.
      number: of folds.
      requests: of this process.

    Raises:
      UsageError: configuration or input are wrong, or there is no cluster at RAY_ADDRESS.
      TrainingError: a fold failed, or no node can hold one.
    """
    cluster = _settings(command)

    def run(fold: int, halt: StopRequests) -> Metrics | None:
        return _result(tasks[fold], fold, halt)

    with session.connected(1, cluster, prestart.preparation()):
        wait_for_a_node(cluster, placement.capacity, requests)
        worker = cluster.worker
        # A run that failed would fail on every node, so it is not retried.
        task = ray.remote(
            num_cpus=worker.cpus, num_gpus=worker.gpus, resources={"TPU": worker.tpus} if worker.tpus else None,
            max_retries=3, retry_exceptions=False,
        )(_in_a_worker)  # fmt: skip
        origin = Origin.here()
        tasks = [task.remote(command, fold, origin) for fold in range(number)]  # by one thread, hence in order
        return folds.run_all(run, number, number, requests)


def _settings(command: Command) -> Cluster:
    """Checks the configuration, and returns its settings of a Ray run. Raises UsageError."""
    with quiet_imports():  # the configuration imports it, too, but would show its noise
        import tensorflow  # noqa: F401
    first = folds.of_fold(command, 0)
    prepared = prepare.prepare(first, RunDirectory(first.run_dir))
    cluster: Cluster = text.load(prepared.gin_text, prepare.CLUSTER)()
    return cluster


def wait_for_a_node(cluster: Cluster, capacity: Callable[[Cluster], int], requests: StopRequests) -> None:
    """Waits until a node can hold a fold, or for a stop request.

    Args:
      cluster: says what a fold needs, and how long to wait.
      capacity: returns how many folds the nodes could hold.
      requests: of this process.

    Raises:
      TrainingError: there is no such node in time.
    """
    deadline = time.monotonic() + cluster.placement.patience
    if not capacity(cluster):
        print(f"waiting for a node that has {cluster.worker.resources}", flush=True)
    while not capacity(cluster) and not requests.pending:
        if time.monotonic() > deadline:
            raise TrainingError(
                f"no node has {cluster.worker.resources}, which launch.on_ray.cluster.WorkerResources gives to a fold: "
                f"lower that, or add nodes"
            )
        requests.wait(1)


def _result(task: ray.ObjectRef, fold: int, halt: StopRequests) -> Metrics | None:
    """Waits for a fold's end, or cancels it after a stop request; returns its metrics, or None if it was stopped.

    Raises:
      UsageError, TrainingError: the fold failed.
    """
    cancelled = False
    while not ray.wait([task], timeout=_SECONDS_BETWEEN_LOOKS)[0]:
        if halt.pending and not cancelled:
            ray.cancel(task)
            cancelled = True
    try:
        metrics: Metrics | None = ray.get(task)
        return metrics
    except ray.exceptions.TaskCancelledError:
        return None
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise TrainingError(
            f"fold {fold}: Ray lost it ({type(error).__name__}); the same command goes on from its last checkpoint"
        ) from error


def _in_a_worker(command: Command, fold: int, origin: Origin) -> Metrics | None:
    """run_fold in a Ray worker, where ray.cancel arrives as SIGINT, again and again until the task has ended."""
    requests = StopRequests()
    before = signal.signal(signal.SIGINT, lambda number, frame: requests.ask(StopReason.INTERRUPTED))
    try:
        return folds.run_fold(command, fold, requests, origin)
    finally:
        signal.signal(signal.SIGINT, before)
