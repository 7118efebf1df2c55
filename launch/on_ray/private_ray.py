"""The private parts of Ray that Convoy needs, and the texts it looks for in Ray's messages: the only file with them.

Each is covered by a test in tests/launch/on_ray/test_private_ray.py, which fails first when Ray changes and says what
to do then. Imports no TensorFlow: Ray Train's controller reads this.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import grpc
import ray
from ray._private.grpc_utils import init_grpc_channel
from ray._private.state import available_resources_per_node, state
from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc, runtime_environment_pb2
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError, WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.controller.state import ReschedulingState
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

T = TypeVar("T")

__all__ = ["ControllerCallback", "DataParallelTrainer", "WorkerHealthCheckFailedError"]

# In Ray's message about an actor whose placement group was removed.
GROUP_REMOVED = "its placement group was removed"
# About an actor whose node is gone, and about one that the memory monitor has killed.
NODE_DIED = "its node has died"
OUT_OF_MEMORY = "running low on memory"
# About a fit() that was given up because a worker died just while its group was created.
ACTOR_DIED = "The actor died"

# Variables that Ray Train reads; one that it does not know it ignores.
ENVIRONMENT = {
    # Ray Train's default is two seconds, by which every death would be noticed later.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # The driver ends a group whose nodes are gone, but the controller does not listen while it waits for them.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
    # The driver decides what follows when a node is drained; Ray must not do so, too.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
# The module of DataParallelTrainer, by name: which a worker's process imports, too.
TRAINER_MODULE = DataParallelTrainer.__module__

_SECONDS_FOR_AN_ANSWER = 5
_SECONDS_KEPT = 30 * 24 * 3600  # Ray ends prestarted processes with the job, if nothing else does


def free_resources() -> Mapping[str, Mapping[str, float]]:
    """By node id, the resources that are free now."""
    free: Mapping[str, Mapping[str, float]] = available_resources_per_node()
    return free


def draining_nodes() -> set[str]:
    """The ids of the nodes that are being drained."""
    return set(state.get_draining_nodes())


def actor_is_dead(actor: str) -> bool:
    """Whether the actor with this id has died."""
    return bool(state.actor_table(actor).get("State") == "DEAD")


def found_no_room(state: Any) -> bool:
    """Whether Ray Train's controller comes to this state because it found no room for a group in time."""
    error = getattr(state, "training_failed_error", None) if isinstance(state, ReschedulingState) else None
    return isinstance(getattr(error, "controller_failure", None), WorkerGroupStartupTimeoutError)


def on_each_worker(worker_group: Any, function: Callable[[], T]) -> list[T]:
    """What a function returns in each worker of a group, on its main thread, by rank."""
    found: list[T] = worker_group.execute(function)
    return found


def on_worker(worker_group: Any, rank: int, function: Callable[..., None], *arguments: Any) -> "ray.ObjectRef":
    """Calls a function in one worker, on its main thread; returns what to wait for."""
    return worker_group.execute_single_async(rank, function, *arguments)


def abort(controller: ray.actor.ActorHandle) -> None:
    """Makes Ray Train's controller end its fit() and free its workers' resources; killing it would not free them."""
    controller.abort.remote()


def prestart_workers(address: str, number: int, runtime_env: str) -> str:
    """Asks the raylet at an address for idle processes of this job; returns what went wrong, '' if nothing did.

    The request is PrestartWorkers in Ray's node_manager.proto, for which Ray has no Python function.

    Args:
      address: host:port of the raylet.
      number: how many processes.
      runtime_env: of the processes, as Ray serializes it.
    """
    request = node_manager_pb2.PrestartWorkersRequest(
        num_workers=number,
        job_id=bytes.fromhex(ray.get_runtime_context().get_job_id()),
        runtime_env_info=runtime_environment_pb2.RuntimeEnvInfo(serialized_runtime_env=runtime_env),
        keep_alive_duration_secs=_SECONDS_KEPT,
    )
    with init_grpc_channel(address) as channel:
        try:
            node_manager_pb2_grpc.NodeManagerServiceStub(channel).PrestartWorkers(
                request, timeout=_SECONDS_FOR_AN_ANSWER
            )
        except grpc.RpcError as error:
            return str(error)
    return ""
