"""The driver's connection to Ray, and its terminal, which Ray and other libraries write to unless it is kept from them.

Knows nothing of training.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import ray

from launch.cluster import Cluster
from trainer.errors import TrainingError, UsageError
from trainer.signals import REASONS

_ENVIRONMENT = {
    # Ray Train looks after its workers every two seconds by itself; a death costs at least that.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # A group whose nodes are gone is given up by the driver, whom the controller does not hear while it waits for them.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
    # What follows from a node that is about to leave is decided here, and not by Ray too.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
_SECONDS_FOR_AN_ANSWER = 60
_SECONDS_TO_CONNECT = 10


_starting = False


def _become_independent() -> None:
    if _starting:
        os.setsid()
        for number in REASONS:
            signal.signal(number, signal.SIG_IGN)  # forgets one that came before, and was not meant for this process
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REASONS)


# What Ray starts here would be told to end whenever this command's process group is, and could not help it save. And it
# would inherit which signals are blocked, and could not be told to end at all.
os.register_at_fork(after_in_child=_become_independent)


def answer(reference: ray.ObjectRef) -> Any:
    """Returns what an actor of this run answers; raises TrainingError if it does not."""
    try:
        return ray.get(reference, timeout=_SECONDS_FOR_AN_ANSWER)
    except ray.exceptions.RayError as error:
        raise TrainingError(
            f"Ray no longer answers ({type(error).__name__}); the same command goes on from the newest checkpoint"
        ) from error


@contextlib.contextmanager
def terminal(log: Path) -> Iterator[TextIO]:
    """Yields what standard output is; within this context all that libraries print goes to the log instead."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept, file = [os.dup(1), os.dup(2)], os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)
    try:
        with os.fdopen(os.dup(kept[0]), "w", buffering=1) as shown:
            yield shown
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


@contextlib.contextmanager
def connected(most: int, cluster: Cluster, prepare: Callable[[], None]) -> Iterator[None]:
    """Connects to the cluster that RAY_ADDRESS names, or starts Ray on this machine; ends that with the context.

    Args:
      most: workers that there may ever be.
      cluster: what they need.
      prepare: called in every process that Ray starts for this job.

    Raises:
      UsageError: no cluster answers at RAY_ADDRESS.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
    address = os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {}
    if not address:
        # Whoever asks for more workers than there are processors gets them.
        options = {"include_dashboard": False, "num_cpus": max(os.cpu_count() or 1, int(most * cluster.cpus + 1))}
    else:
        _require_answer(address)
    global _starting
    _starting = True
    try:
        ray.init(
            address=address or "local",
            runtime_env={**(cluster.runtime_env or {}), "worker_process_setup_hook": prepare},
            log_to_driver=False,
            logging_level=logging.ERROR,
            **options,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        if not address:
            raise UsageError(f"Ray cannot be started on this machine: {said}") from error
        raise UsageError(
            f"RAY_ADDRESS={address}: no Ray cluster lets this process in there ({said}): start one, give it the token "
            f"that the cluster was started with (RAY_AUTH_MODE, RAY_AUTH_TOKEN), or unset RAY_ADDRESS to start Ray on "
            f"this machine"
        ) from error
    finally:
        _starting = False
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Raises UsageError if nobody listens at HOST:PORT: Ray itself may try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return  # a name of Ray's own, such as auto, or ray://…
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise UsageError(
            f"RAY_ADDRESS={address}: nobody answers there ({error}): start a cluster, correct the address, or unset "
            f"RAY_ADDRESS to start Ray on this machine"
        ) from error
