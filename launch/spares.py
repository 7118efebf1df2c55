"""Processes that have imported all that a worker needs, and wait: what makes a group's second start a short one.

The processes of a group cannot be used again once one of them is lost, and most of starting one afresh is importing.
Ray gives an actor an idle process of the same job and runtime environment, where its node has one. So each node is
asked for as many as it has workers, and for others in the place of those that were used.

The request is the raylet's own (PrestartWorkers in Ray's node_manager.proto), for which Ray has no function.
"""

from collections import Counter
from collections.abc import Callable

import grpc
import ray
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc, runtime_environment_pb2

from launch.board import Member
from launch.origin import Origin

# What a worker's process is to import as soon as it has started; set for these processes alone.
PRELOAD = {"CONVOY_PRELOAD": "tensorflow keras trainer.experiment launch.worker ray.train.v2.api.data_parallel_trainer"}
_SECONDS_KEPT = 30 * 24 * 3600  # Ray ends them with the job, if nothing else does
_SECONDS_FOR_AN_ANSWER = 5


def preparation() -> Callable[[], None]:
    """Returns what every process of the job calls first: finds the driver's modules, and imports what it will need."""
    folders = Origin.here().search

    # Nested, so that it travels by value: where it is unpickled, nothing of this project can be imported yet.
    def prepare() -> None:
        import importlib
        import os
        import sys

        sys.path[:0] = [folder for folder in folders if os.path.isdir(folder) and folder not in sys.path]
        for name in os.environ.get("CONVOY_PRELOAD", "").split():
            try:
                importlib.import_module(name)
            except Exception:
                return  # it will be told of where it is needed

    return prepare


class Spares:
    """The waiting processes of one run."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()  # by node

    def replace(self, members: tuple[Member, ...]) -> None:
        """A group has started, for which what was waiting was used first: others are to wait beside its workers."""
        wanted = Counter(member.node for member in members)
        self._waiting = Counter({node: max(0, self._waiting[node] - number) for node, number in wanted.items()})
        addresses = {
            node["NodeID"]: f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
            for node in ray.nodes()
            if node["Alive"]
        }
        for node in wanted.keys() & addresses.keys():
            lacking = wanted[node] - self._waiting[node]
            self._ask(addresses[node], lacking, members[0].runtime_env)
            self._waiting[node] += lacking

    @staticmethod
    def _ask(address: str, number: int, runtime_env: str) -> None:
        request = node_manager_pb2.PrestartWorkersRequest(
            num_workers=number,
            job_id=bytes.fromhex(ray.get_runtime_context().get_job_id()),
            runtime_env_info=runtime_environment_pb2.RuntimeEnvInfo(serialized_runtime_env=runtime_env),
            keep_alive_duration_secs=_SECONDS_KEPT,
        )
        with init_grpc_channel(address) as channel:
            try:
                node_manager = node_manager_pb2_grpc.NodeManagerServiceStub(channel)
                node_manager.PrestartWorkers(request, timeout=_SECONDS_FOR_AN_ANSWER)
            except grpc.RpcError as error:  # the next start is slower, and nothing else
                print(f"no processes wait at {address}: {error}", flush=True)
