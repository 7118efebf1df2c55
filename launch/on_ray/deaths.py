"""How workers were lost, in a few words, from Ray's long messages about it."""

from collections.abc import Mapping

from launch.on_ray import private_ray
from launch.on_ray.status_board import PeerLost


def how_lost(errors: Mapping[int, str]) -> str:
    """How workers were lost, from Ray's messages by rank."""
    found = "; ".join(f"worker {rank} was lost: {cause(error)}" for rank, error in errors.items())
    return found or "a worker was lost while it started"


def cause(error: str) -> str:
    """Ray's long message about a death, in a few words."""
    if private_ray.NODE_DIED in error:
        return "its node has died"
    if private_ray.OUT_OF_MEMORY in error:
        return "it was killed because its node ran out of memory"
    return PeerLost.SAYS if PeerLost.SAYS in error else "its process has died"
