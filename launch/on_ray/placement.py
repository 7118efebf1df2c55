"""How many workers the cluster has room for, as the placement strategy wants them, and what is reserved for them."""

import math
from collections.abc import Mapping, Sequence

import ray
from ray import PlacementGroupID
from ray.util.placement_group import PlacementGroup

from launch.on_ray import private_ray
from launch.on_ray.cluster import Cluster
from launch.on_ray.commands import Room
from launch.on_ray.status_board import Member

# By node id, resources by Ray's names.
_Resources = Mapping[str, Mapping[str, float]]


def fitting(nodes: _Resources, wanted: Mapping[str, float], strategy: str) -> int:
    """Returns how many workers fit on nodes with these resources.

    Args:
      nodes: the resources of each.
      wanted: by one worker.
      strategy: Ray's placement strategy.
    """
    each = [
        min(math.floor(free.get(name, 0.0) / number + 1e-6) for name, number in wanted.items())
        for free in nodes.values()
    ]
    if strategy == "STRICT_PACK":
        return max(each, default=0)
    return sum(min(number, 1) for number in each) if strategy == "STRICT_SPREAD" else sum(each)


def look(cluster: Cluster, members: Sequence[Member], number: int) -> Room:
    """Looks at the nodes that are alive and not about to leave.

    Args:
      cluster: what a worker needs, and how workers are placed.
      members: of the present attempt, whose resources another one would have.
      number: of this look.
    """
    draining, wanted, strategy = private_ray.draining_nodes(), cluster.worker.resources, cluster.placement.strategy
    whole, now_free = _staying(draining), private_ray.free_resources()
    free = {node: dict(now_free.get(node, {})) for node in whole}
    for member in members:
        if member.node in free:
            for name, amount in wanted.items():
                free[member.node][name] = free[member.node].get(name, 0.0) + amount
    return Room(
        number,
        fitting(free, wanted, strategy),
        fitting(whole, wanted, strategy),
        frozenset(draining),
    )


def capacity(cluster: Cluster) -> int:
    """Returns how many workers that need not be placed together could run if nothing else did."""
    return fitting(_staying(private_ray.draining_nodes()), cluster.worker.resources, "PACK")


def _staying(draining: set[str]) -> _Resources:
    """The resources of the nodes that are alive and not about to leave, whoever uses them."""
    there = (node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in draining)
    return {node["NodeID"]: node["Resources"] for node in there}


class Reservation:
    """What some workers need, reserved: as soon as there is room, and until it is freed.

    Ray counts what is asked for as demand, by which clusters that grow do so.

    Args:
      cluster: what a worker needs, and how workers are placed.
      workers: how many.
    """

    def __init__(self, cluster: Cluster, workers: int):
        self.workers = workers
        self._group = ray.util.placement_group([cluster.worker.resources] * workers, cluster.placement.strategy)

    def is_there(self) -> bool:
        """Whether Ray has reserved it."""
        return bool(ray.util.placement_group_table(self._group).get("state") == "CREATED")

    def free(self) -> None:
        """Gives it back, or no longer asks for it."""
        ray.util.remove_placement_group(self._group)


def free_group(members: Sequence[Member], by_force: bool) -> None:
    """Frees the resources of a group if one of its workers has died, or by force; its workers end with that.

    Ray Train does so itself, except when a worker dies while its group starts: then it waits forever.
    """
    if members and (by_force or any(private_ray.actor_is_dead(member.actor) for member in members)):
        ray.util.remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(members[0].placement_group)))
