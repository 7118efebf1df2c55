"""Prestarted processes: they have imported all that a worker needs and wait, which makes a restart short.

The processes of a group cannot be reused once one of them is lost, and most of a start is importing. Ray gives an actor
an idle process of the same job and runtime environment, if its node has one. So each node is asked for as many as it
has workers, and for new ones in place of those that were used. Without them a restart is slower, but works.
"""

from collections import Counter
from collections.abc import Callable

import ray

from launch.on_ray import private_ray
from launch.on_ray.status_board import Member
from launch.origin import Origin

# The modules that a worker's process imports as soon as it starts; set for these processes only.
PRELOAD = {"CONVOY_PRELOAD": f"tensorflow keras trainer.experiment launch.on_ray.worker {private_ray.TRAINER_MODULE}"}


def preparation() -> Callable[[], None]:
    """Returns the setup hook of every process: it extends sys.path and imports PRELOAD."""
    folders = Origin.here().search

    # Nested, so that it is pickled by value: where it is unpickled, nothing of this project can be imported yet.
    def prepare() -> None:
        import importlib
        import os
        import sys

        sys.path[:0] = [folder for folder in folders if os.path.isdir(folder) and folder not in sys.path]
        for name in os.environ.get("CONVOY_PRELOAD", "").split():
            try:
                importlib.import_module(name)
            except Exception:
                return  # the error will be raised again where the module is needed

    return prepare


class PrestartedProcesses:
    """The prestarted processes of one run."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()  # by node

    def replace(self, members: tuple[Member, ...]) -> None:
        """Prestarts new processes on the nodes of a group that has started, which has used up the waiting ones."""
        wanted = Counter(member.node for member in members)
        self._waiting = Counter({node: max(0, self._waiting[node] - number) for node, number in wanted.items()})
        addresses = {
            node["NodeID"]: f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
            for node in ray.nodes()
            if node["Alive"]
        }
        for node in wanted.keys() & addresses.keys():
            lacking = wanted[node] - self._waiting[node]
            if wrong := private_ray.prestart_workers(addresses[node], lacking, members[0].runtime_env):
                print(f"no processes prestarted at {addresses[node]}: {wrong}", flush=True)  # a restart is slower then
            self._waiting[node] += lacking
