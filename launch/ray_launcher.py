"""--launcher=ray: the driver of a Ray run. Starts the workers, shows what they tell, and starts them again.

What a worker does is worker.py's business, whether there is another attempt attempts.py's, who hangs monitor.py's.
"""

import pickle
import shutil
import textwrap
import time
from collections.abc import Mapping

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from launch import configuration, doctor, pool, session, spares
from launch.attempts import Attempts, Decision, Next
from launch.board import Board, Lost, Member, Outcome, Snapshot
from launch.cluster import Cluster
from launch.fit import Fit
from launch.monitor import Limits, Monitor
from launch.worker import Job
from trainer.config import text
from trainer.console import Console
from trainer.errors import TrainingError, UsageError
from trainer.goodput import wall
from trainer.requests import Reason
from trainer.run_directory import RunDirectory
from trainer.signals import Signals

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_BETWEEN_LOOKS_FOR_ROOM = 2.0
_SECONDS_TO_ABORT = 30.0
_SECONDS_FOR_A_NODE = 30
# A worker that beats less often than that is not there.
_SECONDS_OF_A_LIVING_BEAT = 5.0
# Before that many steps a group is still starting, and processes to wait for its end would only delay it.
_STEPS_BEFORE_SPARES = 20


def launch(content: str, directory: RunDirectory, workers: tuple[int, int], signals: Signals, started: float) -> int:
    """Trains on Ray as a checked configuration says, given as text; returns the exit status.

    Args:
      workers: the least and the most of them.
      started: when this command started, on the clock of time.monotonic().

    Raises:
      UsageError: RAY_ADDRESS is wrong, or the workers found configuration or input to be wrong.
      TrainingError: the run failed.
    """
    cluster: Cluster = text.load(content, configuration.CLUSTER)()
    attempts, limits = cluster.attempts(), cluster.limits()  # now, because they refuse what makes no sense
    new = not directory.path.exists()
    directory.acquire()
    directory.logs.mkdir(exist_ok=True)
    try:
        with (
            session.terminal(directory.logs / "driver.log") as terminal,
            session.connected(workers[1], cluster, spares.preparation()),
        ):
            console = Console(terminal)
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            board = ray.remote(num_cpus=0, scheduling_strategy=here)(Board).remote()
            job = Job(content, str(directory.path), board, workers[1], cluster.threads, wall(started))
            signals.tell = console.say
            signals.wait_for_boundaries()
            run = _Run(job, directory, cluster, workers, signals, console, attempts, limits)
            return run.to_its_end()
    except UsageError:
        if new and not directory.config.exists():
            shutil.rmtree(directory.path)  # holds nothing but logs, and nothing has begun
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
        attempts: Attempts,
        limits: Limits,
    ):
        self._job, self._directory, self._cluster, self._workers = job, directory, cluster, workers
        self._signals, self._console, self._attempts, self._limits = signals, console, attempts, limits
        self._spares = spares.Spares()
        self._count = 0  # workers of the present attempt
        self._verdict: Decision | None = None  # on an attempt that was ended from here,
        self._aborted = 0.0  # and when that was
        self._next_look = self._whole = time.monotonic()
        self._follow("")

    def _follow(self, group: str) -> None:
        """Forgets what was known of another group."""
        self._group, self._broken, self._spared, self._hanging = group, False, False, set[int]()
        self._monitor = Monitor(self._limits)

    def to_its_end(self) -> int:
        """Makes attempts until one is the last; returns the exit status. Raises TrainingError or UsageError."""
        while True:
            self._count = self._wait_for_room()
            if not self._count:
                return self._signals.requests.pending
            self._whole = time.monotonic()
            environment = spares.PRELOAD if self._cluster.spares else {}
            fit = Fit(self._job, self._count, self._cluster, self._directory.logs, environment)
            snapshot = self._accompany(fit)
            pool.release(snapshot.members)
            if self._verdict is not None:
                decision = self._verdict
            elif fit.error is not None and not snapshot.outcomes:
                decision = self._failed(fit.error)
            else:
                decision = self._attempts.ended(snapshot.outcomes, self._saved())
            if decision.next is Next.END:
                return self._status(snapshot.outcomes, decision.why)
            self._console.say(f"starting again: {decision.why}")
            self._signals.requests.wait(decision.after)

    def _failed(self, error: BaseException) -> Decision:
        """What follows from a fit that Ray gave up. It does so where a worker dies just when its group is made."""
        if "The actor died" not in str(error):
            raise TrainingError(f"Ray could not run the workers: {error}")
        print(error, flush=True)  # to the driver's log
        decision = self._attempts.died(self._saved())
        return decision._replace(why=decision.why or "a worker was lost while it started")

    def _accompany(self, fit: Fit) -> Snapshot:
        """Shows what the workers tell until they have all ended; returns what is known then."""
        self._verdict = None
        while True:
            over = not fit.running  # asked before the board is, so that its last news are not missed
            if self._signals.requests.pending:
                session.answer(self._job.board.ask.remote(self._signals.requests.pending))
            snapshot: Snapshot = session.answer(self._job.board.snapshot.remote())
            self._show(snapshot)
            if over:
                return snapshot
            if self._verdict is None:
                self._count_deaths(snapshot)
                self._look_for_hangs(snapshot)
                self._look_for_room(snapshot)
                self._look_after_spares(snapshot)
            elif time.monotonic() - self._aborted > _SECONDS_TO_ABORT:
                ray.kill(snapshot.controller)
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _end_fit(self, snapshot: Snapshot, verdict: Decision) -> None:
        """Ends an attempt from outside, whatever Ray would do next."""
        self._verdict, self._aborted = verdict, time.monotonic()
        snapshot.controller.abort.remote()  # frees what its workers had, which killing it does not

    def _wait_for_room(self) -> int:
        """Returns how many workers to start: all that there is room for, between the least and the most.

        0 if the user asked for the end meanwhile.
        """
        least, most = self._workers
        deadline, told, count = time.monotonic() + self._cluster.patience, False, -1
        while True:
            # Nodes come and go, and take back what the last group had: what two looks agree on counts.
            before, count = count, pool.room(self._cluster)
            if count >= least and (count >= most or count == before):
                return min(count, most)
            if time.monotonic() > deadline:
                raise TrainingError(
                    f"the cluster has room for {count} workers with {self._cluster.resources} each, but "
                    f"--num_workers asks for {least} at least: lower it, or add nodes"
                )
            if not told and count < least:
                self._console.say(f"waiting for room: {count} of at least {least} workers")
                told = True
            if self._signals.requests.pending:
                return 0
            time.sleep(1)

    def _count_deaths(self, snapshot: Snapshot) -> None:
        for _ in snapshot.deaths:
            decision = self._attempts.died(self._saved())
            if decision.next is Next.END and snapshot.controller is not None:
                self._end_fit(snapshot, decision)
                return

    def _look_for_room(self, snapshot: Snapshot) -> None:
        """Asks the group to end where more workers could go on, or where it will never be whole again.

        Ray starts a group again by itself, and would wait for ever for nodes that do not come back.
        """
        now = time.monotonic()
        if now < self._next_look or self._verdict is not None:
            return
        self._next_look = now + _SECONDS_BETWEEN_LOOKS_FOR_ROOM
        living = [rank for rank, (_, age) in snapshot.beats.items() if age < _SECONDS_OF_A_LIVING_BEAT]
        if pool.leaving({member.node for member in snapshot.members}):
            session.answer(self._job.board.ask.remote(Reason.LEAVE))
        elif len(living) == self._count:
            self._whole = now
            if self._count < self._workers[1] and pool.room(self._cluster) > 0:
                session.answer(self._job.board.ask.remote(Reason.RESIZE))
        elif snapshot.members and now - self._whole > _SECONDS_OF_A_LIVING_BEAT:
            pool.release(snapshot.members)
        if (
            len(living) < self._count
            and snapshot.controller is not None
            and not snapshot.outcomes
            and now - self._whole > self._cluster.replacement
            and pool.capacity(self._cluster) < self._count
        ):
            self._end_fit(snapshot, Decision(Next.AGAIN, 0, "with the workers that there is room for"))

    def _look_after_spares(self, snapshot: Snapshot) -> None:
        if not self._cluster.spares or self._spared or len(snapshot.beats) < self._count:
            return
        if min(beat.arrivals for beat, _ in snapshot.beats.values()) > _STEPS_BEFORE_SPARES:
            self._spared = True
            self._spares.replace(snapshot.members)

    def _look_for_hangs(self, snapshot: Snapshot) -> None:
        """Ends the worker that keeps the others waiting; Ray then starts the group again."""
        if self._broken:
            return  # a worker has died already, and Ray ends the others
        beats = {rank: beat for rank, beat in snapshot.beats.items() if rank not in snapshot.outcomes}
        for hang in self._monitor.look(beats, time.monotonic(), returned=bool(snapshot.outcomes)):
            if hang.rank in self._hanging:
                continue
            self._hanging.add(hang.rank)
            member = snapshot.members[hang.rank]
            stacks = self._end(member)
            log = self._directory.logs / f"hang_{snapshot.group[:8]}_worker_{hang.rank}.txt"
            log.write_text(stacks + "\n")
            how = "gives no sign of life" if hang.silent else "does not get on"
            when = "last heard of in phase" if hang.silent else "in phase"
            self._console.say(
                f"worker {hang.rank} ({member.host}, process {member.pid}) {how} since {hang.seconds:.0f} s, {when} "
                f"{hang.phase}, after {hang.arrivals:,} steps of this attempt: ended; its stack is in {log}"
            )
            self._console.say(textwrap.indent(doctor.relevant(stacks), "  "))

    @staticmethod
    def _end(member: Member) -> str:
        there = NodeAffinitySchedulingStrategy(member.node, soft=False)
        task = ray.remote(num_cpus=0, scheduling_strategy=there, max_retries=0)(doctor.examine_and_end)
        try:
            return ray.get(task.remote(member.pid), timeout=_SECONDS_FOR_A_NODE)
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
        return self._directory.read_report().get("step", -1)

    def _status(self, outcomes: Mapping[int, Outcome], why: str) -> int:
        """The exit status that the workers agree on; raises what the first of them failed with."""
        self._console.close()
        failed = {rank: outcome for rank, outcome in outcomes.items() if 0 < outcome.status < Reason.RESIZE}
        if failed:
            rank, outcome = next(iter(failed.items()))  # the first one that was told of
            said = outcome.trace or outcome.message
            alone = len(failed) < len(outcomes)
            whose = f"worker {rank}: " if alone else ""
            error = UsageError if outcome.status == 2 else TrainingError
            raise error(f"{whose}{said.strip()}")
        if why:
            raise TrainingError(f"ended, and the same command goes on from the last checkpoint: {why}")
        return max((outcome.status for outcome in outcomes.values()), default=1)


def _cause(error: str) -> str:
    """What Ray says at length of a death, in a few words."""
    if "its node has died" in error:
        return "its node has died"
    if "running low on memory" in error:
        return "it was killed for want of memory on its node"
    if Lost.SAYS in error:
        return Lost.SAYS
    return "its process has died"
