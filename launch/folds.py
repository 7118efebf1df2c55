"""The folds of a sweep: the command of each, one run as a process, and several at a time until one fails.

Knows nothing of Ray (on_ray/folds.py), nor of what becomes of the results (fold_results.py).
"""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from launch import child, fold_results
from launch.command import Command
from launch.fold_results import Metrics
from launch.origin import Origin
from trainer.base.errors import TrainingError, UsageError
from trainer.lifecycle.stop_requests import StopReason, StopRequests
from trainer.rundir.directory import RunDirectory

_SECONDS_BETWEEN_LOOKS = 0.05


def of_fold(command: Command, fold: int) -> Command:
    """Returns the command of one fold of a sweep: with FOLD set, in a folder of its own in the sweep's directory."""
    folder = f"{command.run_dir.rstrip('/')}/fold_{fold}"
    return dataclasses.replace(command.with_param(f"FOLD = {fold}"), run_dir=folder)


def run_fold(command: Command, fold: int, requests: StopRequests, origin: Origin) -> Metrics | None:
    """Runs one fold to its end; returns its metrics of held-out data, or None if it was stopped before.

    Args:
      command: of the sweep.
      fold: the fold's number.
      requests: a request stops the fold, which saves first, or keeps it from starting.
      origin: where relative paths and modules are looked for.

    Raises:
      UsageError, TrainingError: as the run ended.
    """
    own = of_fold(command, fold)
    try:
        ended = child.run(["-m", "trainer.main", *own.flags()], requests, origin, saves=True)
    except (UsageError, TrainingError) as error:
        raise type(error)(f"fold {fold}: {error.message}") from None
    return fold_results.read(RunDirectory(own.run_dir)) if ended else None


def run_all(
    run: Callable[[int, StopRequests], Metrics | None], folds: int, at_once: int, requests: StopRequests
) -> dict[int, Metrics]:
    """Runs folds until a stop request, or until one fails; returns the metrics of those that have finished.

    Args:
      run: runs a fold, given its number, until its end or a stop request; returns its metrics, or None if stopped.
      folds: how many there are.
      at_once: how many run at a time, each in a thread.
      requests: of this process.

    Raises:
      UsageError, TrainingError: what a fold failed with, once the others have ended, too.
    """
    halt = StopRequests()  # not the process's own: after a failure, the first signal must still count as the first

    def begin(fold: int) -> Metrics | None:
        try:
            return run(fold, halt)
        except BaseException:
            halt.ask(StopReason.TERMINATED)  # in this thread, before it takes the next fold
            raise

    with ThreadPoolExecutor(at_once) as pool:
        futures = {fold: pool.submit(begin, fold) for fold in range(folds)}
        while wait(futures.values(), _SECONDS_BETWEEN_LOOKS).not_done:
            if requests.pending:
                halt.ask(requests.pending)
    found = {fold: future.result() for fold, future in futures.items()}
    return {fold: metrics for fold, metrics in found.items() if metrics is not None}
