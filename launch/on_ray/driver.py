"""--launcher=ray: the driver of a Ray run. Looks at the world, shows the workers' output, and does what is decided.

What is decided is in decisions.py, and what a worker does in worker.py.
"""

import contextlib
import pickle
import textwrap
import time
import uuid

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from launch import prepare
from launch.command import Command
from launch.on_ray import commands, placement, prestart, private_ray, session, stacks
from launch.on_ray.cluster import Cluster
from launch.on_ray.commands import Room, World
from launch.on_ray.decisions import Decisions
from launch.on_ray.fit import Fit
from launch.on_ray.hang_detector import Hang
from launch.on_ray.node_agents import NodeAgents
from launch.on_ray.restart_policy import exit_status
from launch.on_ray.saved_step import SavedStep
from launch.on_ray.status_board import Snapshot, StatusBoard
from launch.on_ray.worker import Job
from trainer.base.errors import TrainingError, UsageError
from trainer.config import text
from trainer.lifecycle.goodput import wall
from trainer.lifecycle.signals import Signals
from trainer.lifecycle.stop_requests import StopReason
from trainer.observe.console import Console
from trainer.rundir.directory import CONFIG, LOGS, RunDirectory

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_BETWEEN_LOOKS_FOR_ROOM = 1.0
# Of a worker without heartbeats for this share of HangLimits.silence, its node is asked what it does.
_SHARE_OF_SILENCE = 0.3


def launch(command: Command, gin_text: str, directory: RunDirectory, signals: Signals, started: float) -> int:
    """Trains on Ray; returns the exit status.

    Args:
      command: says how many workers.
      gin_text: its checked configuration.
      directory: of the run, on a path that all nodes share.
      signals: of this process.
      started: when this command started, in seconds of time.monotonic().

    Raises:
      UsageError: RAY_ADDRESS is wrong, or the workers found configuration or input to be wrong.
      TrainingError: the run failed.
    """
    cluster: Cluster = text.load(gin_text, prepare.CLUSTER)()
    most = command.workers[1]
    new = not directory.exists()
    directory.acquire()
    log = directory.log("driver", uuid.uuid4().hex)
    try:
        with (
            session.terminal(log) as terminal,
            session.connected(most, cluster, prestart.preparation()),
        ):
            console = Console(terminal)
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            # Ray need not keep a record of its calls: two in a second from each worker.
            board = ray.remote(num_cpus=0, scheduling_strategy=here, enable_task_events=False)(StatusBoard).remote()
            job = Job(
                gin_text,
                directory.where,
                board,
                command.workers,
                cluster.worker.threads,
                wall(started),
                command.options,
            )
            signals.tell = console.say
            signals.wait_for_boundaries()
            run = _Run(job, directory, cluster, command.workers, signals, console)
            directory.keep_sending(contextlib.nullcontext)  # logs, which anybody may write
            status = run.to_its_end()
        directory.send(contextlib.nullcontext)
        return status
    except UsageError:
        if new and not directory.local_copy(CONFIG).exists():
            directory.withdraw()  # the run has not begun, so it holds nothing but logs
        raise


class _Run:
    """The attempts of one command."""

    def __init__(
        self,
        job: Job,
        directory: RunDirectory,
        cluster: Cluster,
        workers: tuple[int, int],
        signals: Signals,
        console: Console,
    ):
        self._job, self._directory, self._cluster = job, directory, cluster
        self._requests, self._console = signals.stop_requests, console
        self._decisions = Decisions(cluster, workers)
        self._prestarted, self._agents = prestart.PrestartedProcesses(), NodeAgents()
        self._fit: Fit | None = None
        self._reservation: placement.Reservation | None = None
        self._must_end = False  # a fit() that was called, whose controller may not be there yet
        self._room, self._next_look = Room(0, 0, 0), 0.0
        self._running, self._group = False, ""
        self._saved_step = SavedStep(self._newest_saved)

    def to_its_end(self) -> int:
        """Does what is decided until the run is over; returns the exit status.

        Raises:
          UsageError: workers found configuration or input to be wrong.
          TrainingError: the run failed.
        """
        while True:
            world = self._look()
            self._show(world.board)
            for command in self._decisions.decide(world):
                status = self._carry_out(command, world.board)
                if status is not None:
                    return status
            if self._must_end and world.board.controller.handle is not None:
                private_ray.abort(world.board.controller.handle)
                self._must_end = False
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _look(self) -> World:
        """All that decisions are made from."""
        running = self._fit is not None and self._fit.running  # read before the board, so that no last news is missed
        board: Snapshot = session.answer(self._job.board.snapshot.remote())
        now, ended = time.monotonic(), self._running and not running
        self._running = running
        if ended and self._fit is not None and self._fit.error is not None:
            print(self._fit.error, flush=True)  # to the driver's log
        saved = self._saved_step.look(now=ended or bool(board.deaths))
        if ended or now >= self._next_look:
            self._next_look = now + _SECONDS_BETWEEN_LOOKS_FOR_ROOM
            self._room = placement.look(self._cluster, board.members if running else (), self._room.look + 1)
        error = str(self._fit.error or "") if self._fit is not None else ""
        age_of_late = _SHARE_OF_SILENCE * self._cluster.hang_limits.silence
        late = [rank for rank, (_, age) in board.beats.items() if age > age_of_late and rank not in board.outcomes]
        vitals = self._agents.look([board.members[rank] for rank in late]) if running else {}
        there = self._reservation is not None and self._reservation.is_there()
        room = self._room._replace(reserved=self._reservation.workers if self._reservation and there else 0)
        return World(now, self._requests.pending, saved, room, running, error, board, vitals)

    def _newest_saved(self) -> int:
        """The step of the newest checkpoint; -1 if there is none."""
        return self._directory.read_report().get("step", -1) if self._directory.has_checkpoints() else -1

    def _carry_out(self, command: commands.Command, board: Snapshot) -> int | None:
        """Does it; returns the exit status if the run is over."""
        match command:
            case commands.Reserve(workers):
                self._free_reservation()
                self._reservation = placement.Reservation(self._cluster, workers)
            case commands.Start(workers):
                self._free_reservation()
                number = 1 if self._fit is None else self._fit.number + 1
                # Or what is left of the last attempt would be of this one.
                session.answer(self._job.board.reset.remote(number))
                environment = prestart.PRELOAD if self._cluster.prestart else {}
                self._fit = Fit(number, self._job, workers, self._cluster, self._directory, environment)
                self._must_end = False
            case commands.Ask(reason):
                # A user's request is for whichever group there is, another one for this group alone.
                group = None if reason >= StopReason.INTERRUPTED else board.group
                session.answer(self._job.board.ask.remote(reason, group))
            case commands.EndWorkers(hangs):
                found = self._agents.end([board.members[hang.rank] for hang in hangs])
                for hang, stack in zip(hangs, found, strict=True):
                    self._tell_of(hang, stack, board)
            case commands.EndFit(by_force):
                self._must_end = True
                if by_force and board.controller.handle is not None:
                    ray.kill(board.controller.handle)
            case commands.FreeGroup(by_force):
                placement.free_group(board.members, by_force)
            case commands.Prestart():
                self._prestarted.replace(board.members)
            case commands.Say(line):
                self._console.say(line)
            case commands.Finish(why):
                self._console.close()
                return exit_status(board.outcomes, why)
            case commands.Stopped():
                self._console.say(f"stopped by {self._requests.pending.words}; the same command goes on")
                return self._requests.pending
            case commands.Fail(message):
                raise TrainingError(message)
        return None

    def _free_reservation(self) -> None:
        if self._reservation is not None:
            self._reservation.free()
            self._reservation = None

    def _tell_of(self, hang: Hang, found: str, board: Snapshot) -> None:
        member = board.members[hang.rank]
        log = self._directory.path / LOGS / f"hang_{board.group[:8]}_worker_{hang.rank}.txt"
        with contextlib.suppress(OSError):  # its disk may be what is wrong
            log.write_text(found + "\n")
        how = "has sent no heartbeat" if hang.silent else "has made no progress"
        when = "last seen in phase" if hang.silent else "in phase"
        self._console.say(
            f"worker {hang.rank} ({member.host}, process {member.pid}) {how} for {hang.seconds:.0f} s, {when} "
            f"{hang.phase}, after {hang.collectives:,} steps of its replicas, evaluation included: ended; its "
            f"stack is in {log}"
        )
        self._console.say(textwrap.indent(stacks.relevant(found), "  "))

    def _show(self, board: Snapshot) -> None:
        """What the workers tell, and who they are."""
        for errors in board.deaths:
            for error in errors.values():
                print(error, flush=True)  # to the driver's log
        if board.group != self._group:
            self._group = board.group
            for member in board.members:
                self._console.fact(f"worker {member.rank}", f"{member.host}, process {member.pid}, {member.address}")
        for method, arguments in map(pickle.loads, board.news):
            getattr(self._console, method)(*arguments)
