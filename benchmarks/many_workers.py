"""What 256 workers cost a Ray run's status board and driver: processor time, and memory after millions of heartbeats.

    python -m benchmarks.many_workers [--seconds=60]

The workers are pretended, and import no TensorFlow: four processes with 64 threads each, of which every one sends a
heartbeat twice a second, as HeartbeatSender does, and waits for its orders; rank 0 also tells a line per second. Board
and decisions are the real ones, and the loop of this process does what the driver's does, but for showing the lines.
The board's process and this one must take less than half a core together.

Then, without Ray and on a clock of its own: 256 workers send 20,000 heartbeats each, in 10,000 s in which they train,
evaluate and save, and the board is looked at five times a second. What board and decisions hold must stay the same.
Exit 1 if one of that is not so.
"""

import argparse
import os
import pickle
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from launch.on_ray import commands, placement
from launch.on_ray.cluster import Cluster, WorkerResources
from launch.on_ray.commands import Room, World
from launch.on_ray.decisions import Decisions, State
from launch.on_ray.status_board import Heartbeat, Member, Snapshot, StatusBoard
from trainer.lifecycle.stop_requests import StopReason

WORKERS = 256
_SENDERS = 4
_BETWEEN_BEATS, _BETWEEN_LOOKS, _LOOKS_TO_A_LOOK_AT_ROOM = 0.5, 0.2, 5
_SIMULATED_SECONDS = 10_000
_MOST_OF_A_CORE, _MOST_GROWTH = 0.5, 1.05
_OF_A_HEALTHY_RUN = commands.Reserve | commands.Start | commands.Say | commands.Prestart
_GROUP, _CONTROLLER = "a group", "its controller"


class _Sender:
    """An actor: so many workers, from a rank on, as threads."""

    def __init__(self, board: Any, first: int, count: int):
        self._board, self._sent, self._began = board, [0] * count, time.monotonic()
        for place in range(count):
            threading.Thread(target=self._beat_on, args=(first + place, place), daemon=True).start()

    def _beat_on(self, rank: int, place: int) -> None:
        time.sleep(_BETWEEN_BEATS * place / len(self._sent))  # they have not started at the same moment
        while True:
            second = int(time.monotonic() - self._began)
            ray.get(self._board.beat.remote(_GROUP, rank, _beat(second)))
            if rank == 0 and self._sent[place] % 2:
                self._board.tell.remote(_GROUP, _news(second))
            self._sent[place] += 1
            time.sleep(_BETWEEN_BEATS)

    def sent(self) -> int:
        """How many heartbeats so far; 0 until each worker has sent one."""
        return sum(self._sent) if all(self._sent) else 0


def _beat(second: int) -> Heartbeat:
    """With a step a second, and an evaluation and a save a minute."""
    phase = {40: "evaluation", 41: "evaluation", 42: "evaluation", 43: "checkpoint"}.get(second % 60, "stepping")
    return Heartbeat(phase, second, second)


def _news(second: int) -> bytes:
    return pickle.dumps(("say", (f"step {second}",)))


def _members(node: str, workers: int) -> tuple[Member, ...]:
    return tuple(
        Member(rank, "a-host", node, 1000 + rank, f"10.0.0.1:{20000 + rank}", "{}", f"{rank:032x}", f"{0:036x}")
        for rank in range(workers)
    )


class _Driver:
    """What the driver's loop does with a snapshot. The group is there by itself as soon as it is asked for."""

    def __init__(self, workers: int) -> None:
        # There is room for so many on the four processors that Ray is told of, for each of which it starts a process.
        self.cluster = Cluster(worker=lambda: WorkerResources(cpus=_SENDERS / workers))
        self.decisions = Decisions(self.cluster, (workers, workers))
        self.running, self._reserving = False, 0

    def look(self, now: float, saved: int, room: Room, board: Snapshot) -> None:
        """Raises RuntimeError if something is decided that workers without faults give no reason for."""
        for news in board.news:
            pickle.loads(news)
        room = room._replace(reserved=self._reserving)
        found = self.decisions.decide(World(now, StopReason.NONE, saved, room, self.running, "", board))
        self._reserving = max((each.workers for each in found if isinstance(each, commands.Reserve)), default=0)
        self.running |= any(isinstance(command, commands.Start) for command in found)
        if wrong := [each for each in found if not isinstance(each, _OF_A_HEALTHY_RUN)]:
            raise RuntimeError(f"decided of workers that train without a fault: {wrong}")


class _Used(NamedTuple):
    """at: a moment.  board, driver: seconds of processor time of their processes.  sent: heartbeats."""

    at: float
    board: float
    driver: float
    sent: int


class _OnRay:
    """The board, the senders, and the loop of the driver."""

    def __init__(self) -> None:
        here = ray.get_runtime_context().get_node_id()
        as_driver = {
            "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False),
            "enable_task_events": False,
        }
        self._board = ray.remote(num_cpus=0, **as_driver)(StatusBoard).remote()
        self._board_pid = ray.get(self._board.__ray_call__.remote(lambda board: os.getpid()))
        calls = [
            self._board.reset.remote(1),
            self._board.started.remote(1, _CONTROLLER),
            self._board.begin.remote(1, _GROUP, _members(here, WORKERS)),
        ]
        ray.get(calls)
        count, sender = WORKERS // _SENDERS, ray.remote(num_cpus=0)(_Sender)
        self._senders = [sender.remote(self._board, i * count, count) for i in range(_SENDERS)]
        while not all(ray.get([each.sent.remote() for each in self._senders])):
            time.sleep(_BETWEEN_BEATS)
        self._driver, self._room, self._looks = _Driver(WORKERS), Room(0, 0, 0), 0

    def run(self, seconds: float) -> tuple[_Used, _Used]:
        """Looks on for so long once the group trains; returns what was used at the beginning of that and at its end."""
        while self._driver.decisions.state is not State.RUNNING:
            self._look()
        before = self._used()
        while time.monotonic() - before.at < seconds:
            self._look()
        return before, self._used()

    def _look(self) -> None:
        snapshot = ray.get(self._board.snapshot.remote())
        if self._looks % _LOOKS_TO_A_LOOK_AT_ROOM == 0:
            members = snapshot.members if self._driver.running else ()
            self._room = placement.look(self._driver.cluster, members, self._room.look + 1)
        self._driver.look(time.monotonic(), 0, self._room, snapshot)
        self._looks += 1
        time.sleep(_BETWEEN_LOOKS)

    def _used(self) -> _Used:
        sent = sum(ray.get([each.sent.remote() for each in self._senders]))
        return _Used(time.monotonic(), _processor_time(self._board_pid), _processor_time(os.getpid()), sent)


def _processor_time(pid: int) -> float:
    """Seconds that a process has used so far, in all of its threads."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def is_cheap(seconds: float) -> bool:
    """Prints which share of a core board and driver take; returns whether that is little enough."""
    ray.init(address="local", num_cpus=_SENDERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        before, after = _OnRay().run(seconds)
    finally:
        ray.shutdown()
    passed, sent = after.at - before.at, after.sent - before.sent
    board, driver = (after.board - before.board) / passed, (after.driver - before.driver) / passed
    print(f"{WORKERS} workers for {passed:.0f} s, {sent / passed:,.0f} heartbeats a second")
    print(f"status board {board:.3f} of a core, {1e6 * board * passed / sent:,.0f} us per heartbeat")
    print(f"driver       {driver:.3f}\ntogether     {board + driver:.3f}, at most {_MOST_OF_A_CORE}", flush=True)
    return board + driver < _MOST_OF_A_CORE


def simulated(workers: int, seconds: int) -> Iterator[tuple[int, int]]:
    """Without Ray; yields heartbeats so far and the bytes then held, at a tenth, at the half and at the end."""
    now = 0.0
    board, driver = StatusBoard(clock=lambda: now), _Driver(workers)
    board.reset(1)
    board.started(1, _CONTROLLER)
    board.begin(1, _GROUP, _members("a-node", workers))
    tenths, beats = 10 * seconds, 0
    tracemalloc.start()
    try:
        for tenth in range(tenths):
            now, second = tenth / 10, tenth // 10
            if tenth % round(10 * _BETWEEN_BEATS) == 0:
                for rank in range(workers):
                    board.beat(_GROUP, rank, _beat(second))
                board.tell(_GROUP, _news(second))
                beats += workers
            if tenth % round(10 * _BETWEEN_LOOKS) == 0:
                driver.look(now, second // 60, Room(second, workers, workers), board.snapshot())
            if tenth + 1 in (tenths // 10, tenths // 2, tenths):
                yield beats, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def is_flat() -> bool:
    """Prints what board and decisions hold as time goes on; returns whether that stays the same."""
    found = []
    for beats, held in simulated(WORKERS, _SIMULATED_SECONDS):
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        print(f"{beats:>9,} heartbeats: {held / 1e3:,.1f} kB held, {resident / 1e6:,.1f} MB of the process", flush=True)
        found.append(held)
    return found[-1] < _MOST_GROWTH * found[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    cheap, flat = is_cheap(parser.parse_args().seconds), is_flat()
    return 0 if cheap and flat else 1


if __name__ == "__main__":
    sys.exit(main())
