"""How many workers the cluster has room for. Asks Ray; reserves nothing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray import PlacementGroupID
from ray._private.state import available_resources_per_node, state
from ray.util.placement_group import PlacementGroup

from launch.board import Member
from launch.cluster import Cluster


def room(cluster: Cluster) -> int:
    """Returns how many more workers could start now, on nodes that are alive and not about to leave."""
    free = available_resources_per_node()
    return sum(_fitting(free.get(node["NodeID"], {}), cluster) for node in _staying())


def capacity(cluster: Cluster) -> int:
    """Returns how many workers could run on nodes that are alive and not about to leave, if nothing else did."""
    return sum(_fitting(node["Resources"], cluster) for node in _staying())


def _staying() -> list[Mapping[str, Any]]:
    """The nodes that are alive and not about to leave, as Ray describes them."""
    draining = state.get_draining_nodes()
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in draining]


def _fitting(free: Mapping[str, float], cluster: Cluster) -> int:
    return min(math.floor(free.get(name, 0.0) / wanted + 1e-6) for name, wanted in cluster.resources.items())


def release(members: Sequence[Member]) -> None:
    """Gives back what a group holds of which a worker has died; its other workers end with that.

    Ray Train does so itself, but for a worker that dies while its group starts: it then waits for ever for the room
    that the dead group has.
    """
    if any(state.actor_table(member.actor).get("State") == "DEAD" for member in members):
        ray.util.remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(members[0].placement_group)))


def leaving(nodes: set[str]) -> set[str]:
    """Those of the nodes, by their ids, that Ray was told to drain."""
    return nodes & set(state.get_draining_nodes())
