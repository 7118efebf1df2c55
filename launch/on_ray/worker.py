"""One worker of a Ray run: what Ray Train calls in each worker, and the heartbeat beside it.

A worker does not raise the exceptions of user code: it reports its outcome to the status board and returns, because Ray
would take an exception for the failure of a machine and try again. Only the loss of another worker is raised.
"""

import pickle
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ray.train
import tensorflow as tf

from launch import process
from launch.on_ray import backend, worker_signals
from launch.on_ray.status_board import NO_ORDERS, TROUBLE, Heartbeat, Outcome, PeerLost
from trainer.base import liveness, private_tensorflow
from trainer.base.errors import TrainingError, UsageError, of_environment, of_other_processes, own_trace, with_place
from trainer.lifecycle.goodput import Goodput
from trainer.lifecycle.stop_requests import StopReason, StopRequests
from trainer.modes.invocation import Invocation, ProcessSetup
from trainer.observe.console import Console
from trainer.observe.report import Report
from trainer.rundir.directory import RunDirectory

_SECONDS_BETWEEN_BEATS = 0.5
_SECONDS_FOR_THE_BOARD = 60
# How long a worker that lost another one waits for the driver to find out which; less than HangLimits.step_seconds.
_SECONDS_FOR_A_VERDICT = 10


class Job(NamedTuple):
    """What the driver sends to every worker.

    gin_text: the checked configuration.  run_dir: the same path on all nodes.  board: handle of the status board.
    workers: the least and the most of an attempt.  threads: of TensorFlow, per worker.  started: when the command
    started, in seconds of goodput.wall.  options: of the mode, see Invocation.
    """

    gin_text: str
    run_dir: str
    board: Any
    workers: tuple[int, int]
    threads: int
    started: float
    options: Mapping[str, Any]


class BoardConsole(Console):
    """A worker's console: passes on the calls, so that the driver shows them.

    Args:
      send: called with the name of a Console method and its arguments.
    """

    def __init__(self, send: Callable[[str, tuple[Any, ...]], None]):
        super().__init__()
        self._send = send

    def say(self, line: str) -> None:
        self._send("say", (line,))

    def fact(self, name: str, value: str) -> None:
        self._send("fact", (name, value))

    def progress(self, report: Report) -> None:
        self._send("progress", (report,))

    def evaluated(self, report: Report, split: str, results: Mapping[str, float]) -> None:
        self._send("evaluated", (report, split, dict(results)))

    def close(self) -> None:
        self._send("close", ())


class HeartbeatSender:
    """Sends heartbeats from a thread of its own, also during a host call, and receives orders.

    Args:
      board: handle of the status board.
      group, rank: of this worker.
      goodput: its current kind is the worker's phase.
      requests: where stop requests from the board go.
      abandon: called once, when this worker should leave because another one cannot go on.
    """

    def __init__(
        self,
        board: Any,
        group: str,
        rank: int,
        goodput: Goodput,
        requests: StopRequests,
        abandon: Callable[[], None],
    ):
        self._board, self._group, self._rank, self._goodput, self._requests = board, group, rank, goodput, requests
        self._abandon: Callable[[], None] | None = abandon
        self.collectives: Callable[[], int] = lambda: 0
        self.meetings: Callable[[], int] = lambda: 0
        self.step = -1
        threading.Thread(target=self._beat_on, name="heartbeat", daemon=True).start()

    def watch(self, collectives: Callable[[], int]) -> None:
        """From now on heartbeats carry `collectives()`, how many collectives this process has reached."""
        self.collectives = collectives

    def watch_meetings(self, meetings: Callable[[], int]) -> None:
        """From now on heartbeats carry `meetings()`, how often this process has come to the others between steps."""
        self.meetings = meetings

    def _beat_on(self) -> None:
        while True:
            beat = Heartbeat(self._goodput.phase(), self.collectives(), self.step, liveness.count(), self.meetings())
            try:
                orders = ray.get(self._board.beat.remote(self._group, self._rank, beat)) or NO_ORDERS
            except ray.exceptions.ActorDiedError:
                return  # without a board there is no driver either, and Ray ends its workers
            except ray.exceptions.RayError:  # of the network, and may pass
                time.sleep(_SECONDS_BETWEEN_BEATS)
                continue
            if orders.request:
                self._requests.ask(orders.request)
            if orders.abandon and self._abandon is not None:
                abandon, self._abandon = self._abandon, None
                abandon()
            time.sleep(_SECONDS_BETWEEN_BEATS)


def _is_present(board: Any, group: str) -> bool:
    """Whether a group is the one that the driver follows."""
    try:
        present: bool = ray.get(board.is_present.remote(group), timeout=_SECONDS_FOR_THE_BOARD)
        return present
    except ray.exceptions.RayError:  # without a board there is no driver
        return False


class _Limit:
    """Passes on for how many workers the shards of the run are enough."""

    def __init__(self, board: Any):
        self._board, self.workers = board, sys.maxsize

    def tell(self, workers: int) -> None:
        ray.get(self._board.limit.remote(workers))
        self.workers = workers


def train(job: Job) -> None:
    """What Ray Train runs in a thread of each worker.

    Raises:
      PeerLost: another worker was lost, and the driver has not found out in time which one.
    """
    context = ray.train.get_context()
    rank, count, group = context.get_world_rank(), context.get_world_size(), backend.group()
    tf.config.threading.set_intra_op_parallelism_threads(job.threads)
    tf.config.threading.set_inter_op_parallelism_threads(job.threads)
    requests, goodput, abandoned = worker_signals.requests(), Goodput(job.started), threading.Event()

    def abandon() -> None:
        abandoned.set()
        # The thread that waits for the others in a collective gets this as an error.
        private_tensorflow.abort_collectives("another worker cannot go on")

    enough_for = _Limit(job.board)
    heartbeat = HeartbeatSender(job.board, group, rank, goodput, requests, abandon)

    def tell(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "progress":
            heartbeat.step = arguments[0].step
        if rank == 0:
            job.board.tell.remote(group, pickle.dumps((method, arguments)))

    try:
        status = process.run(
            Invocation(
                "train",
                RunDirectory(job.run_dir, locked=True, may_begin=lambda: _is_present(job.board, group)),
                process.configuration(job.gin_text),
                BoardConsole(tell),
                goodput,
                requests,
                ProcessSetup(
                    watch=heartbeat.watch,
                    watch_meetings=heartbeat.watch_meetings,
                    processes=count,
                    most_processes=job.workers[1],
                    told_limit=enough_for.tell,
                ),
                job.options,
            )
        )
        outcome = Outcome(status)
    except UsageError as error:
        # Of more workers than the run's shards are enough for, fewer go on.
        fewer = job.workers[0] <= enough_for.workers < count
        outcome = Outcome(StopReason.RESIZE) if fewer else Outcome(2, error.message)
    except TrainingError as error:
        outcome = Outcome(TROUBLE if of_environment(error) else 1, error.message)
    except (Exception, SystemExit) as error:
        if not of_other_processes(error):
            bug = Outcome(1, f"{type(error).__name__}: {error}", own_trace(error))
            outcome = Outcome(TROUBLE, with_place(error)) if of_environment(error) else bug
        # TensorFlow may notice that another worker is gone before the driver finds out that it hangs, failed or died.
        elif abandoned.wait(_SECONDS_FOR_A_VERDICT):
            outcome = Outcome(0, "abandoned")
        else:
            raise PeerLost(f"{PeerLost.SAYS}: {str(error).strip().splitlines()[0]}") from None
    backend.send_log()
    ray.get(job.board.end.remote(group, rank, outcome))
