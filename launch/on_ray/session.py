"""The driver's connection to Ray, and its terminal, which is kept free of what Ray and other libraries print.

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

from launch.on_ray import private_ray
from launch.on_ray.cluster import Cluster
from trainer.base.errors import TrainingError, UsageError
from trainer.lifecycle.signals import REASONS

_SECONDS_FOR_AN_ANSWER = 60
_SECONDS_TO_CONNECT = 10


_starting = False


def _become_independent() -> None:
    if _starting:
        os.setsid()
        for number in REASONS:
            signal.signal(number, signal.SIG_IGN)  # drops a pending one, which was not meant for this process
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REASONS)


# Processes that Ray starts here would get every signal to this command's process group, and end while they are needed
# for saving. They would also inherit the blocked signals, and could not be ended by one at all.
os.register_at_fork(after_in_child=_become_independent)


def answer(reference: ray.ObjectRef) -> Any:
    """Returns the answer of an actor of this run.

    Raises:
      TrainingError: it does not answer within 60 s, or has died.
    """
    try:
        return ray.get(reference, timeout=_SECONDS_FOR_AN_ANSWER)
    except ray.exceptions.RayError as error:
        raise TrainingError(
            f"Ray no longer answers ({type(error).__name__}); the same command goes on from the newest checkpoint"
        ) from error


@contextlib.contextmanager
def terminal(log: Path) -> Iterator[TextIO]:
    """Yields the original standard output; within this context, all that libraries print goes to the log instead."""
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
    """Connects to the cluster that RAY_ADDRESS names, or starts Ray on this machine; disconnects or ends it afterwards.

    Args:
      most: the most workers that the run may ever have.
      cluster: their resources, and the runtime environment of the job.
      prepare: called in every process that Ray starts for this job.

    Raises:
      UsageError: no cluster answers at RAY_ADDRESS, or Ray cannot be started here.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in private_ray.ENVIRONMENT.items()})
    address = os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {}
    if not address:
        # More workers than processors are allowed, if the user asks for them.
        options = {
            "include_dashboard": False,
            "num_cpus": max(os.cpu_count() or 1, int(most * cluster.worker.cpus + 1)),
        }
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
            f"RAY_ADDRESS={address}: no Ray cluster there accepts this process ({said}): start one, set the token that "
            f"the cluster was started with (RAY_AUTH_MODE, RAY_AUTH_TOKEN), or unset RAY_ADDRESS to start Ray on this "
            f"machine"
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
