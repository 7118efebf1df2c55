"""The agents on the nodes of a group, which tell what its processes do and end those that hang. They decide nothing.

An agent is a Ray actor. A node gets one when it is first asked about its processes: most runs need none, and a process
more would slow down their start.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from launch.on_ray import stacks
from launch.on_ray.status_board import Member
from launch.on_ray.vitals import Vitals, Watch

_SECONDS_FOR_A_NODE = 30
# What an agent told that long ago is not true any more.
_SECONDS_OF_TRUTH = 4.0
# Stacks of so many processes of a node are read side by side.
_AT_ONCE = 16


class Agent:
    """The actor."""

    def __init__(self) -> None:
        self._watch = Watch()

    def vitals(self, pids: Sequence[int]) -> Mapping[int, Vitals]:
        """What processes of this node do, see Watch.look."""
        return self._watch.look(pids)

    def end(self, pid: int) -> str:
        """Ends a process of this node; returns its stacks."""
        return stacks.dump_and_kill(pid)


class NodeAgents:
    """The agents of one command, as its driver uses them."""

    def __init__(self) -> None:
        self._agents: dict[str, Any] = {}  # by node
        self._asked: dict[str, ray.ObjectRef] = {}  # by node, a question that is not answered yet
        self._told: dict[tuple[str, int], tuple[Vitals, float]] = {}  # by node and process, and when

    def _prepare(self, nodes: Iterable[str]) -> None:
        """Starts agents on nodes that have none; waits for nothing."""
        for node in nodes:
            if node not in self._agents:
                there = NodeAffinitySchedulingStrategy(node, soft=False)
                options = {"num_cpus": 0, "scheduling_strategy": there, "max_concurrency": _AT_ONCE}
                self._agents[node] = ray.remote(**options)(Agent).remote()

    def look(self, members: Sequence[Member]) -> dict[int, Vitals]:
        """By rank, what the nodes of these workers told last; asks them again, and waits for nothing."""
        now = time.monotonic()
        by_node: dict[str, list[int]] = {}
        for member in members:
            by_node.setdefault(member.node, []).append(member.pid)
        self._prepare(by_node)
        for node, pids in by_node.items():
            self._take_answer(node, now)
            if node not in self._asked and node in self._agents:
                self._asked[node] = self._agents[node].vitals.remote(pids)
        known = ((member.rank, self._told.get((member.node, member.pid))) for member in members)
        return {rank: told[0] for rank, told in known if told is not None and now - told[1] < _SECONDS_OF_TRUTH}

    def _take_answer(self, node: str, now: float) -> None:
        if node not in self._asked or not ray.wait([self._asked[node]], timeout=0)[0]:
            return
        try:
            answer = ray.get(self._asked.pop(node))
        except ray.exceptions.RayError:  # the node or its agent is gone; another agent is tried
            del self._agents[node]
            return
        self._told |= {(node, pid): (vitals, now) for pid, vitals in answer.items()}

    def end(self, members: Sequence[Member]) -> list[str]:
        """Ends workers, side by side; returns what was found of each: its stacks, or why there are none."""
        self._prepare({member.node for member in members})
        asked = [self._agents[member.node].end.remote(member.pid) for member in members]
        ray.wait(asked, num_returns=len(asked), timeout=_SECONDS_FOR_A_NODE)
        found = []
        for member, reference in zip(members, asked, strict=True):
            try:
                found.append(ray.get(reference, timeout=0.001))
            except ray.exceptions.RayError as error:
                self._agents.pop(member.node, None)
                found.append(f"(its node does not answer: {type(error).__name__})")
        return found
