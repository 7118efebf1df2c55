"""What makes Ray Train's workers TensorFlow workers: TF_CONFIG, over ports that are held until TensorFlow binds them.

Ray's own TensorFlow backend is not used: it asks for the legacy Keras, and frees its ports before they are taken.
Nothing here imports TensorFlow.
"""

import json
import os
import socket
import uuid
from pathlib import Path
from typing import Any

import ray
from ray.train import UserCallback
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.callback import ControllerCallback

from launch import worker_signals
from launch.board import Member

# TensorFlow binds with SO_REUSEPORT when this is set. A socket that is bound and does not listen keeps the port from
# everybody else and takes no connections; one that listened would take TensorFlow's.
_REUSE_PORT = "TF_GRPC_REUSE_PORT"
_GROUP = "CONVOY_GROUP"
_RELEASED = "its placement group was removed"  # as Ray words it


class TensorFlowCluster(BackendConfig):
    """Args:
    board: handle of the board.
    logs: folder for the full output of every worker.
    """

    def __init__(self, board: Any, logs: Path):
        self.board, self.logs = board, logs

    @property
    def backend_cls(self):
        return _TensorFlowBackend


class Started(ControllerCallback):
    """Tells the board that Ray Train's controller is there."""

    def __init__(self, board: Any):
        self._board = board

    def after_controller_start(self, train_run_context) -> None:
        ray.get(self._board.started.remote(ray.get_runtime_context().current_actor))


class Deaths(UserCallback):
    """Tells the board, from Ray Train's controller, which workers died."""

    def __init__(self, board: Any):
        self._board = board

    def after_exception(self, run_context, worker_exceptions) -> None:
        # The workers that lost another one to its death say so too, and one may have been ended because the driver took
        # back what the broken group had (pool.release); they are not what went wrong.
        dead = {r: e for r, e in worker_exceptions.items() if isinstance(e, WorkerHealthCheckFailedError)}
        first = {r: e for r, e in dead.items() if _RELEASED not in str(e)}
        blamed = first or dead or worker_exceptions
        ray.get(self._board.died.remote({rank: str(error) for rank, error in blamed.items()}))


class _TensorFlowBackend(Backend):
    """Runs in Ray Train's controller."""

    def on_start(self, worker_group, backend_config: TensorFlowCluster) -> None:
        group = uuid.uuid4().hex
        members = tuple(member._replace(rank=rank) for rank, member in enumerate(worker_group.execute(_hold_port)))
        ray.get(backend_config.board.begin.remote(group, members))
        addresses = [member.address for member in members]
        ray.get(
            [
                worker_group.execute_single_async(rank, _join, group, addresses, rank, str(backend_config.logs))
                for rank in range(len(members))
            ]
        )


_port: socket.socket | None = None  # held as long as the process lives


def group() -> str:
    """The group that this worker process belongs to."""
    return os.environ[_GROUP]


def _hold_port() -> Member:
    """Runs on a worker's main thread, which alone may touch signals."""
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


def _join(group: str, addresses: list[str], rank: int, logs: str) -> None:
    os.environ[_GROUP] = group
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": rank},
        }
    )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    Path(logs).mkdir(parents=True, exist_ok=True)
    log = os.open(Path(logs) / f"worker_{rank}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
