"""How many workers the cluster has room for. Asks Ray; reserves nothing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray import PlacementGroupID
from ray.util.placement_group import PlacementGroup

from launch.on_ray import private_ray
from launch.on_ray.cluster import Cluster
from launch.on_ray.status_board import Member


def room(cluster: Cluster) -> int:
    """Returns how many more workers could start now, on nodes that are alive and not about to leave."""
    free = private_ray.free_resources()
    return sum(_fitting(free.get(node["NodeID"], {}), cluster) for node in _staying())


def capacity(cluster: Cluster) -> int:
    """Returns how many workers could run on nodes that are alive and not about to leave, if nothing else ran there."""
    return sum(_fitting(node["Resources"], cluster) for node in _staying())


def _staying() -> list[Mapping[str, Any]]:
    """The nodes that are alive and not about to leave, as Ray describes them."""
    draining = private_ray.draining_nodes()
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in draining]


def _fitting(free: Mapping[str, float], cluster: Cluster) -> int:
    return min(math.floor(free.get(name, 0.0) / wanted + 1e-6) for name, wanted in cluster.worker.resources.items())


def free_broken_group(members: Sequence[Member]) -> None:
    """Frees the resources of a group if one of its workers has died; the other workers end with that.

    Ray Train does so itself, except when a worker dies while its group starts: then it waits forever.
    """
    if any(private_ray.actor_is_dead(member.actor) for member in members):
        ray.util.remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(members[0].placement_group)))


def leaving(nodes: set[str]) -> set[str]:
    """The ids of those nodes that are being drained."""
    return nodes & private_ray.draining_nodes()
