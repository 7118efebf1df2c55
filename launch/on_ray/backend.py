"""Turns Ray Train's workers into TensorFlow workers: TF_CONFIG, with ports that are held until TensorFlow binds them.

Ray's own TensorFlow backend is not used: it asks for legacy Keras, and frees its ports before TensorFlow binds them.
Nothing here imports TensorFlow.
"""

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Mapping
from typing import Any

import ray
from ray.train import UserCallback
from ray.train.backend import Backend, BackendConfig

from launch.on_ray import private_ray, worker_signals
from launch.on_ray.status_board import Member
from trainer.rundir.directory import RunDirectory

# TensorFlow binds with SO_REUSEPORT when this is set. A socket that is bound but does not listen reserves the port and
# takes no connections; a listening one would take TensorFlow's.
_REUSE_PORT = "TF_GRPC_REUSE_PORT"
_GROUP = "CONVOY_GROUP"


class TensorFlowCluster(BackendConfig):  # type: ignore[misc]
    """The backend's configuration, which Ray Train passes to every group.

    Args:
      board: handle of the status board.
      fit: the number of the fit().
      run_dir: whose logs get the full output of every worker.
    """

    def __init__(self, board: Any, fit: int, run_dir: str):
        self.board, self.fit, self.run_dir = board, fit, run_dir

    @property
    def backend_cls(self) -> type[Backend]:
        return _TensorFlowBackend


class Placing(private_ray.ControllerCallback):  # type: ignore[misc]
    """Tells the status board, from Ray Train's controller, that it has started, and that it finds no room."""

    def __init__(self, board: Any, fit: int):
        self._board, self._fit = board, fit

    def after_controller_start(self, train_run_context: Any) -> None:
        ray.get(self._board.started.remote(self._fit, ray.get_runtime_context().current_actor))

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        if private_ray.found_no_room(current_state):
            ray.get(self._board.found_no_room.remote(self._fit))


class Deaths(UserCallback):  # type: ignore[misc]
    """Tells the status board, from Ray Train's controller, which workers died."""

    def __init__(self, board: Any, fit: int):
        self._board, self._fit = board, fit

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        # Ray reports follow-up deaths too; pass on only the first causes. Workers that could not reach the dead one are
        # follow-ups, and workers that ended because the driver freed their resources (placement.free_group).
        dead = {r: e for r, e in worker_exceptions.items() if isinstance(e, private_ray.WorkerHealthCheckFailedError)}
        first = {r: e for r, e in dead.items() if private_ray.GROUP_REMOVED not in str(e)}
        blamed = first or dead or worker_exceptions
        ray.get(self._board.died.remote(self._fit, {rank: str(error) for rank, error in blamed.items()}))


class _TensorFlowBackend(Backend):  # type: ignore[misc]
    """Runs in Ray Train's controller."""

    def on_start(self, worker_group: Any, backend_config: TensorFlowCluster) -> None:
        group = uuid.uuid4().hex
        found = private_ray.on_each_worker(worker_group, _hold_port)
        members = tuple(member._replace(rank=rank) for rank, member in enumerate(found))
        ray.get(backend_config.board.begin.remote(backend_config.fit, group, members))
        addresses = [member.address for member in members]
        ray.get(
            [
                private_ray.on_worker(worker_group, rank, _join, group, addresses, rank, backend_config.run_dir)
                for rank in range(len(members))
            ]
        )


_port: socket.socket | None = None  # held as long as the process lives
_directory: RunDirectory | None = None  # in which this worker's log is


def group() -> str:
    """The group that this worker process belongs to."""
    return os.environ[_GROUP]


def _hold_port() -> Member:
    """Reserves a port and installs signal handling. Runs on a worker's main thread; no other may touch signals."""
    global _port
    _port = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    _port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    _port.bind(("", 0))
    os.environ[_REUSE_PORT] = "true"
    worker_signals.notice()
    address = f"{ray.util.get_node_ip_address()}:{_port.getsockname()[1]}"
    here = ray.get_runtime_context()
    return Member(
        rank=0,
        host=socket.gethostname(),
        node=here.get_node_id(),
        pid=os.getpid(),
        address=address,
        runtime_env=here.get_runtime_env_string(),
        actor=here.get_actor_id(),
        placement_group=ray.util.get_current_placement_group().id.hex(),
    )


def _join(group: str, addresses: list[str], rank: int, run_dir: str) -> None:
    global _directory
    os.environ[_GROUP] = group
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": rank},
        }
    )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    _directory = RunDirectory(run_dir, locked=True)
    log = os.open(_directory.log(f"worker_{rank}", group), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    _directory.keep_sending(contextlib.nullcontext)


def send_log() -> None:
    """Sends what this worker's log has not been sent of."""
    if _directory is not None:
        with contextlib.suppress(OSError):
            _directory.send(contextlib.nullcontext)
