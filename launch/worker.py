"""One worker of a Ray run: what Ray Train calls in each, and the heartbeat beside it.

The worker never raises what user code raises: it tells the board how it went and returns, because Ray would take an
exception for a machine's failure and try again. Only the loss of another worker is raised.
"""

import pickle
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import ray.train
import tensorflow as tf

from launch import local, ray_backend, worker_signals
from launch.board import Beat, Lost, Outcome
from trainer.console import Console
from trainer.errors import TrainingError, UsageError, of_other_processes, own_trace
from trainer.goodput import Ledger
from trainer.requests import Requests
from trainer.run_directory import RunDirectory

_SECONDS_BETWEEN_BEATS = 0.5
# How long a worker that lost another one leaves it to the driver to find out which: less than `monitor.Limits.step`.
_SECONDS_FOR_A_VERDICT = 10


class Job(NamedTuple):
    """What the driver sends to every worker.

    content: the checked configuration, as gin text.  run_dir: the same path on all nodes.
    most_workers: how many there may ever be.  threads: of TensorFlow.  started: when the command was, by goodput.wall.
    """

    content: str
    run_dir: str
    board: Any
    most_workers: int
    threads: int
    started: float


class BoardConsole(Console):
    """The console of rank 0: what it is told is shown by the driver."""

    def __init__(self, send: Callable[[str, tuple], None]):
        super().__init__()
        self._send = send

    def say(self, line: str) -> None:
        self._send("say", (line,))

    def fact(self, name: str, value: str) -> None:
        self._send("fact", (name, value))

    def progress(self, report) -> None:
        self._send("progress", (report,))

    def evaluated(self, report, split, results) -> None:
        self._send("evaluated", (report, split, dict(results)))

    def close(self) -> None:
        self._send("close", ())


class Heart:
    """Beats from a thread of its own, also while a host call runs, and takes orders back.

    Args:
      board, group, rank: where to, and from whom.
      ledger: tells the phase.
      requests: take what is asked of the run.
      abandon: called once if the others cannot go on.
    """

    def __init__(self, board, group: str, rank: int, ledger: Ledger, requests: Requests, abandon: Callable[[], None]):
        self._board, self._group, self._rank, self._ledger, self._requests = board, group, rank, ledger, requests
        self._abandon: Callable[[], None] | None = abandon
        self.arrivals: Callable[[], int] = lambda: 0
        self.step = -1
        threading.Thread(target=self._beat_on, name="heartbeat", daemon=True).start()

    def watch(self, arrivals: Callable[[], int]) -> None:
        """From now on the steps can be counted."""
        self.arrivals = arrivals

    def _beat_on(self) -> None:
        while True:
            phase, since = self._ledger.phase()
            beat = Beat(phase, since, self.arrivals(), self.step)
            try:
                orders = ray.get(self._board.beat.remote(self._group, self._rank, beat))
            except ray.exceptions.RayError:
                return  # without the board there is no driver either, and Ray ends its workers
            if orders.request:
                self._requests.ask(orders.request)
            if orders.abandon and self._abandon is not None:
                abandon, self._abandon = self._abandon, None
                abandon()
            time.sleep(_SECONDS_BETWEEN_BEATS)


def train(job: Job) -> None:
    """What Ray Train runs in a thread of each worker.

    Raises:
      Lost: this one could not go on without another worker, and was not told which one that was.
    """
    context = ray.train.get_context()
    rank, group = context.get_world_rank(), ray_backend.group()
    tf.config.threading.set_intra_op_parallelism_threads(job.threads)
    tf.config.threading.set_inter_op_parallelism_threads(job.threads)
    requests, ledger, abandoned = worker_signals.requests(), Ledger(job.started), threading.Event()

    def abandon() -> None:
        from tensorflow.python.eager import context

        abandoned.set()
        # Whoever waits for the others in a collective gets this as an error.
        context.context().abort_collective_ops(tf.errors.UNAVAILABLE, "another worker cannot go on")

    heart = Heart(job.board, group, rank, ledger, requests, abandon)

    def tell(method: str, arguments: tuple) -> None:
        if method == "progress":
            heart.step = arguments[0].step
        if rank == 0:
            job.board.tell.remote(group, pickle.dumps((method, arguments)))

    try:
        status = local.run(
            job.content,
            RunDirectory(job.run_dir, locked=True),
            "train",
            requests,
            ledger,
            BoardConsole(tell),
            watch=heart.watch,
            processes=context.get_world_size(),
            most_replicas=job.most_workers,
        )
        outcome = Outcome(status)
    except UsageError as error:
        outcome = Outcome(2, error.message)
    except TrainingError as error:
        outcome = Outcome(1, error.message)
    except (Exception, SystemExit) as error:
        if not of_other_processes(error):
            outcome = Outcome(1, f"{type(error).__name__}: {error}", own_trace(error))
        # TensorFlow may give up a worker before the driver has found out that it hangs, has failed or is dead.
        elif abandoned.wait(_SECONDS_FOR_A_VERDICT):
            outcome = Outcome(0, "abandoned")
        else:
            raise Lost(f"{Lost.SAYS}: {str(error).strip().splitlines()[0]}") from None
    ray.get(job.board.end.remote(group, rank, outcome._replace(step=heart.step)))
