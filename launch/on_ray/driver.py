"""--launcher=ray: the driver of a Ray run. Starts the workers, shows their output, and starts them again.

What a worker does is in worker.py. Whether there is another attempt is decided in restart_policy.py, and which worker
hangs in hang_detector.py.
"""

import pickle
import shutil
import textwrap
import time

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from launch import prepare
from launch.command import Command
from launch.on_ray import placement, prestart, private_ray, session, stacks
from launch.on_ray.cluster import Cluster
from launch.on_ray.fit import Fit
from launch.on_ray.hang_detector import HangDetector
from launch.on_ray.restart_policy import Decision, Next, exit_status
from launch.on_ray.status_board import Member, PeerLost, Snapshot, StatusBoard
from launch.on_ray.worker import Job
from trainer.base.errors import TrainingError, UsageError
from trainer.config import text
from trainer.lifecycle.goodput import wall
from trainer.lifecycle.signals import Signals
from trainer.lifecycle.stop_requests import StopReason
from trainer.observe.console import Console
from trainer.rundir.directory import RunDirectory

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_BETWEEN_LOOKS_FOR_ROOM = 2.0
_SECONDS_TO_ABORT = 30.0
_SECONDS_FOR_A_NODE = 30
# A worker whose last heartbeat is older than this counts as lost.
_SECONDS_OF_A_LIVING_BEAT = 5.0
# Until each worker has reached this many collectives a group is still starting, and prestarting would slow it down.
_COLLECTIVES_BEFORE_PRESTARTING = 20


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
    new = not directory.path.exists()
    directory.acquire()
    directory.logs.mkdir(exist_ok=True)
    try:
        with (
            session.terminal(directory.logs / "driver.log") as terminal,
            session.connected(most, cluster, prestart.preparation()),
        ):
            console = Console(terminal)
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            board = ray.remote(num_cpus=0, scheduling_strategy=here)(StatusBoard).remote()
            job = Job(
                gin_text, str(directory.path), board, most, cluster.worker.threads, wall(started), command.options
            )
            signals.tell = console.say
            signals.wait_for_boundaries()
            run = _Run(job, directory, cluster, command.workers, signals, console)
            return run.to_its_end()
    except UsageError:
        if new and not directory.config.exists():
            shutil.rmtree(directory.path)  # the run has not begun, so it holds nothing but logs
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
        self._job, self._directory, self._cluster, self._workers = job, directory, cluster, workers
        self._signals, self._console = signals, console
        self._restart_policy = cluster.restart_policy
        self._prestarted = prestart.PrestartedProcesses()
        self._count = 0  # workers of the present attempt
        self._verdict: Decision | None = None  # set when the driver has ended an attempt,
        self._aborted = 0.0  # and when it did
        self._next_look = self._whole = time.monotonic()
        self._follow("")

    def _follow(self, group: str) -> None:
        """Starts to follow a group: resets what was known of the one before."""
        self._group, self._broken, self._prestart_asked, self._hanging = group, False, False, set[int]()
        self._hang_detector = HangDetector(self._cluster.hang_limits)

    def to_its_end(self) -> int:
        """Makes attempts until the restart policy ends the run; returns the exit status.

        Raises:
          UsageError: workers found configuration or input to be wrong.
          TrainingError: the run failed.
        """
        while True:
            self._count = self._wait_for_room()
            if not self._count:
                return self._signals.stop_requests.pending
            self._whole = time.monotonic()
            environment = prestart.PRELOAD if self._cluster.prestart else {}
            fit = Fit(self._job, self._count, self._cluster, self._directory.logs, environment)
            snapshot = self._accompany(fit)
            placement.free_broken_group(snapshot.members)
            if self._verdict is not None:
                decision = self._verdict
            elif fit.error is not None and not snapshot.outcomes:
                decision = self._failed(fit.error)
            else:
                decision = self._restart_policy.ended(snapshot.outcomes, self._saved())
            if decision.next is Next.END:
                self._console.close()
                return exit_status(snapshot.outcomes, decision.why)
            self._console.say(f"starting again: {decision.why}")
            self._signals.stop_requests.wait(decision.after)

    def _failed(self, error: BaseException) -> Decision:
        """Decides after a fit that Ray gave up, as it does if a worker dies just while its group is created."""
        if private_ray.ACTOR_DIED not in str(error):
            raise TrainingError(f"Ray could not run the workers: {error}")
        print(error, flush=True)  # to the driver's log
        decision = self._restart_policy.died(self._saved())
        return decision._replace(why=decision.why or "a worker was lost while it started")

    def _accompany(self, fit: Fit) -> Snapshot:
        """Shows the workers' output until all of them have ended; returns the last snapshot."""
        self._verdict = None
        while True:
            over = not fit.running  # read before the snapshot, so that no last news is missed
            if self._signals.stop_requests.pending:
                session.answer(self._job.board.ask.remote(self._signals.stop_requests.pending))
            snapshot: Snapshot = session.answer(self._job.board.snapshot.remote())
            self._show(snapshot)
            if over:
                return snapshot
            if self._verdict is None:
                self._count_deaths(snapshot)
                self._look_for_hangs(snapshot)
                self._look_for_room(snapshot)
                self._keep_prestarted(snapshot)
            elif time.monotonic() - self._aborted > _SECONDS_TO_ABORT:
                ray.kill(snapshot.controller)
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _end_fit(self, snapshot: Snapshot, verdict: Decision) -> None:
        """Ends an attempt from outside, whatever Ray would do next."""
        self._verdict, self._aborted = verdict, time.monotonic()
        private_ray.abort(snapshot.controller)

    def _wait_for_room(self) -> int:
        """Returns how many workers to start: as many as there is room for, from the least to the most.

        0 after a stop request. Raises TrainingError if there is not enough room in time.
        """
        least, most = self._workers
        deadline, told, count = time.monotonic() + self._cluster.placement.patience, False, -1
        while True:
            # Nodes come and go, and the last group's resources are freed late: two looks in a row have to agree.
            before, count = count, placement.room(self._cluster)
            if count >= least and (count >= most or count == before):
                return min(count, most)
            if time.monotonic() > deadline:
                raise TrainingError(
                    f"the cluster has room for {count} workers with {self._cluster.worker.resources} each, but "
                    f"--num_workers asks for {least} at least: lower it, or add nodes"
                )
            if not told and count < least:
                self._console.say(f"waiting for room: {count} of at least {least} workers")
                told = True
            if self._signals.stop_requests.pending:
                return 0
            time.sleep(1)

    def _count_deaths(self, snapshot: Snapshot) -> None:
        for _ in snapshot.deaths:
            decision = self._restart_policy.died(self._saved())
            if decision.next is Next.END and snapshot.controller is not None:
                self._end_fit(snapshot, decision)
                return

    def _look_for_room(self, snapshot: Snapshot) -> None:
        """Asks the group to stop when there is room for more workers or one of its nodes is drained.

        And ends an attempt whose lost workers are not replaced in time: Ray starts a group again by itself, but would
        wait forever for nodes that do not come back.
        """
        now = time.monotonic()
        if now < self._next_look or self._verdict is not None:
            return
        self._next_look = now + _SECONDS_BETWEEN_LOOKS_FOR_ROOM
        living = [rank for rank, (_, age) in snapshot.beats.items() if age < _SECONDS_OF_A_LIVING_BEAT]
        if placement.leaving({member.node for member in snapshot.members}):
            session.answer(self._job.board.ask.remote(StopReason.LEAVE))
        elif len(living) == self._count:
            self._whole = now
            if self._count < self._workers[1] and placement.room(self._cluster) > 0:
                session.answer(self._job.board.ask.remote(StopReason.RESIZE))
        elif snapshot.members and now - self._whole > _SECONDS_OF_A_LIVING_BEAT:
            placement.free_broken_group(snapshot.members)
        if (
            len(living) < self._count
            and snapshot.controller is not None
            and not snapshot.outcomes
            and now - self._whole > self._cluster.placement.replacement
            and placement.capacity(self._cluster) < self._count
        ):
            self._end_fit(snapshot, Decision(Next.AGAIN, 0, "with the workers that there is room for"))

    def _keep_prestarted(self, snapshot: Snapshot) -> None:
        if not self._cluster.prestart or self._prestart_asked or len(snapshot.beats) < self._count:
            return
        if min(beat.collectives for beat, _ in snapshot.beats.values()) > _COLLECTIVES_BEFORE_PRESTARTING:
            self._prestart_asked = True
            self._prestarted.replace(snapshot.members)

    def _look_for_hangs(self, snapshot: Snapshot) -> None:
        """Ends the worker that keeps the others waiting; Ray then starts the group again."""
        if self._broken:
            return  # a worker has died already, and Ray is ending the others
        beats = {rank: beat for rank, beat in snapshot.beats.items() if rank not in snapshot.outcomes}
        for hang in self._hang_detector.look(beats, time.monotonic(), returned=bool(snapshot.outcomes)):
            if hang.rank in self._hanging:
                continue
            self._hanging.add(hang.rank)
            member = snapshot.members[hang.rank]
            found = self._end(member)
            log = self._directory.logs / f"hang_{snapshot.group[:8]}_worker_{hang.rank}.txt"
            log.write_text(found + "\n")
            how = "has sent no heartbeat" if hang.silent else "has made no progress"
            when = "last seen in phase" if hang.silent else "in phase"
            self._console.say(
                f"worker {hang.rank} ({member.host}, process {member.pid}) {how} for {hang.seconds:.0f} s, {when} "
                f"{hang.phase}, after {hang.collectives:,} steps of its replicas, evaluation included: ended; its "
                f"stack is in {log}"
            )
            self._console.say(textwrap.indent(stacks.relevant(found), "  "))

    @staticmethod
    def _end(member: Member) -> str:
        there = NodeAffinitySchedulingStrategy(member.node, soft=False)
        task = ray.remote(num_cpus=0, scheduling_strategy=there, max_retries=0)(stacks.dump_and_kill)
        try:
            said: str = ray.get(task.remote(member.pid), timeout=_SECONDS_FOR_A_NODE)
            return said
        except ray.exceptions.RayError as error:
            return f"(its node does not answer: {type(error).__name__})"

    def _show(self, snapshot: Snapshot) -> None:
        for errors in snapshot.deaths:
            self._broken = True
            for rank, error in errors.items():
                print(error, flush=True)  # to the driver's log
                self._console.say(f"worker {rank} was lost: {_cause(error)}")
            if not errors:
                self._console.say("a worker was lost while it started")
        if snapshot.group != self._group:
            self._follow(snapshot.group)
            for member in snapshot.members:
                self._console.fact(f"worker {member.rank}", f"{member.host}, process {member.pid}, {member.address}")
        for method, arguments in map(pickle.loads, snapshot.news):
            getattr(self._console, method)(*arguments)

    def _saved(self) -> int:
        """The step of the newest checkpoint; -1 if there is none."""
        step: int = self._directory.read_report().get("step", -1)
        return step


def _cause(error: str) -> str:
    """Ray's long message about a death, in a few words."""
    if private_ray.NODE_DIED in error:
        return "its node has died"
    if private_ray.OUT_OF_MEMORY in error:
        return "it was killed because its node ran out of memory"
    if PeerLost.SAYS in error:
        return PeerLost.SAYS
    return "its process has died"
