"""Runs of one configuration that differ in a number, and what they come to together: a cross-validation.

    python -m launch.sweep --gin_file=runs/titanic_kfold.gin --run_dir=DIR --folds=10 [--at_once=2] [--on_ray] …

Each fold is a run of its own, DIR/fold_0 and so on, which `python -m trainer.main` would start with FOLD = 0 and the
flags that stand for … here. SIGINT and SIGTERM stop those that run, which save first, and so does a fold that fails.
The same command again goes on with those that are not finished. What came of them is shown as a table, written to
DIR/sweep.json, and to DIR/tensorboard for the tab HParams. On Ray a fold gets the resources and the runtime environment
that launch.cluster.Cluster gives to a worker of a run.
"""

import argparse
import ctypes
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from launch import configuration
from launch.cluster import Cluster
from launch.origin import Origin
from trainer.chatter import without_chatter
from trainer.config import text
from trainer.errors import TrainingError, UsageError
from trainer.main import guarded, parse
from trainer.requests import Reason, Requests
from trainer.run_directory import RunDirectory
from trainer.signals import Signals

# Of one fold, by '<split>/<name>'; None where it is not a finite number.
Metrics = Mapping[str, float | None]

_SECONDS_BETWEEN_LOOKS = 0.05
_PR_SET_PDEATHSIG = 1  # of Linux's prctl()


def run_fold(run_dir: str, fold: int, flags: Sequence[str], requests: Requests, origin: Origin) -> Metrics | None:
    """Runs one fold to its end; returns what its report tells of held-out data, or None if it was stopped before.

    Args:
      requests: whoever asks there stops it; it is saved first. Or it is not begun at all.
      origin: relative paths and modules are looked for from there.

    Raises:
      UsageError, TrainingError: as the run ended.
    """
    if requests.pending:
        return None
    folder = Path(run_dir) / f"fold_{fold}"
    command = [sys.executable, "-m", "trainer.main", *flags, f"--gin_param=FOLD = {fold}", f"--run_dir={folder}"]
    number = 0
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        # In a session of its own, because a terminal sends Ctrl-C to all that it started: passed on as well, it would
        # be the second signal, which ends a run without saving.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True,
            preexec_fn=_ends_with_this_thread(), **origin.of_child(),
        )  # fmt: skip
        while process.poll() is None:
            if requests.pending and not number:
                number = requests.pending - 128
                process.send_signal(number)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        said.seek(0)
        message = said.read().strip().removeprefix("error: ")
    if number and process.returncode in (128 + number, -number):
        return None
    if process.returncode:
        error = UsageError if process.returncode == 2 else TrainingError
        raise error(f"fold {fold}: {message or f'ended with {process.returncode}'}")
    metrics = json.loads((folder / "report.json").read_text())["metrics"]
    return {name: value for name, value in metrics.items() if not name.startswith("train/")}


def _ends_with_this_thread() -> Callable[[], None] | None:
    """What a new process is to call first, so that it does not outlive the thread that waits for it.

    Whoever waits may be killed, as Ray's workers are; the fold would train on alone, and keep its directory from the
    next try. The kernel ends it whatever it is doing, which a thread of its own that watches could not. And kills it,
    rather than asks, because nothing of it may be left when the next try begins; what was saved is there.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: little is safe in what is forked from a process with threads
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _run_all(
    run: Callable[[int, Requests], Metrics | None], folds: int, at_once: int, requests: Requests
) -> dict[int, Metrics]:
    """Runs the folds, until somebody asks for the end or one has failed; returns those that came to theirs.

    Raises:
      UsageError, TrainingError: what a fold failed with, after the others have ended, too.
    """
    halt = Requests()  # not the process's own: after a failure, the first signal is still the first

    def begin(fold: int) -> Metrics | None:
        try:
            return run(fold, halt)
        except BaseException:
            halt.ask(Reason.TERMINATED)  # by this thread, which would begin another fold before any other noticed
            raise

    with ThreadPoolExecutor(at_once) as pool:
        futures = {fold: pool.submit(begin, fold) for fold in range(folds)}
        while wait(futures.values(), _SECONDS_BETWEEN_LOOKS).not_done:
            if requests.pending:
                halt.ask(requests.pending)
    found = {fold: future.result() for fold, future in futures.items()}
    return {fold: metrics for fold, metrics in found.items() if metrics is not None}


def _in_a_worker(run_dir: str, fold: int, flags: Sequence[str], origin: Origin) -> Metrics | None:
    """run_fold in a Ray worker, where ray.cancel comes as a SIGINT, and comes again until the task has ended."""
    requests = Requests()
    before = signal.signal(signal.SIGINT, lambda number, frame: requests.ask(Reason.INTERRUPTED))
    try:
        return run_fold(run_dir, fold, flags, requests, origin)
    finally:
        signal.signal(signal.SIGINT, before)


def _cluster(flags: configuration.Flags) -> Cluster:
    """What the configuration, which is checked, asks of a cluster. Raises UsageError."""
    with without_chatter():
        import tensorflow  # noqa: F401
    of_first = flags._replace(gin_param=[*flags.gin_param, "FOLD = 0"])
    prepared = configuration.prepare(RunDirectory(Path(flags.run_dir) / "fold_0"), of_first)
    return text.load(prepared.content, configuration.CLUSTER)()


def _wait_for_a_node(cluster: Cluster, capacity: Callable[[Cluster], int], requests: Requests) -> None:
    """Until one is there that can hold a fold, or somebody asks for the end. Raises TrainingError if none comes."""
    deadline = time.monotonic() + cluster.patience
    if not capacity(cluster):
        print(f"waiting for a node that has {cluster.resources}", flush=True)
    while not capacity(cluster) and not requests.pending:
        if time.monotonic() > deadline:
            raise TrainingError(
                f"no node has {cluster.resources}, which a fold gets as launch.cluster.Cluster says: lower that, or "
                f"add nodes"
            )
        requests.wait(1)


def _on_ray(run_dir: str, folds: int, cluster: Cluster, flags: Sequence[str], requests: Requests) -> dict[int, Metrics]:
    """As many at once as there is room for, on all nodes; run_dir is a path that they share."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UsageError("--on_ray needs Ray: pip install 'convoy-train[ray]'") from error
    from launch import pool, session, spares

    def run(fold: int, halt: Requests) -> Metrics | None:
        reference, cancelled = references[fold], False
        while not ray.wait([reference], timeout=_SECONDS_BETWEEN_LOOKS)[0]:
            if halt.pending and not cancelled:
                ray.cancel(reference)
                cancelled = True
        try:
            return ray.get(reference)
        except ray.exceptions.TaskCancelledError:
            return None
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise TrainingError(
                f"fold {fold}: Ray lost it ({type(error).__name__}); the same command goes on from its last checkpoint"
            ) from error

    with session.connected(1, cluster, spares.preparation()):
        _wait_for_a_node(cluster, pool.capacity, requests)
        # What a run that failed says is meant for a person, and is the same on every node: not tried again.
        task = ray.remote(
            num_cpus=cluster.cpus, num_gpus=cluster.gpus, resources={"TPU": cluster.tpus} if cluster.tpus else None,
            max_retries=3, retry_exceptions=False,
        )(_in_a_worker)  # fmt: skip
        origin = Origin.here()
        references = [
            task.remote(run_dir, fold, flags, origin) for fold in range(folds)
        ]  # by one thread: in their order
        return _run_all(run, folds, folds, requests)


def table(metrics: Mapping[int, Metrics]) -> str:
    """A row a fold, then mean and standard deviation (of a sample) of each metric over the folds.

    Where a fold has no such number stands -, and for mean and deviation, too, which would be of fewer folds.
    """
    folds = sorted(metrics)
    columns = [["fold", *map(str, folds), "mean", "deviation"]]
    for name in sorted({name for each in metrics.values() for name in each}):
        values = [metrics[fold].get(name) for fold in folds]
        numbers = [value for value in values if value is not None]
        whole = len(numbers) == len(values)
        values += [statistics.mean(numbers), statistics.stdev(numbers)] if whole else [None, None]
        columns.append([name, *("-" if value is None else f"{value:.4f}" for value in values)])
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _write(directory: RunDirectory, metrics: Mapping[int, Metrics]) -> None:
    """For TensorBoard's tab HParams: each fold is a trial. In place of what an earlier command wrote."""
    with without_chatter():
        import tensorflow as tf
        from tensorboard.plugins.hparams import api

    for path in directory.tensorboard.glob("fold_*/*tfevents*"):
        path.unlink()
    for fold, values in metrics.items():
        with tf.summary.create_file_writer(str(directory.tensorboard / f"fold_{fold}")).as_default(step=0):
            api.hparams({"fold": fold}, trial_id=f"fold_{fold}")
            for name, value in values.items():
                if value is not None:
                    tf.summary.scalar(name, value)
    directory.write("sweep.json", json.dumps(metrics, indent=2) + "\n")


def _require_training(flags: configuration.Flags, run_dir: str) -> None:
    """Raises UsageError if the folds' flags ask for anything but training, or set what the sweep sets itself."""
    if flags.mode != "train":
        raise UsageError(
            f"--mode={flags.mode}: a sweep trains its folds: drop it, or give it to python -m trainer.main with "
            f"--run_dir={run_dir}/fold_0 or another of them"
        )
    for param in flags.gin_param:
        if param.partition("=")[0].strip() == "FOLD":
            raise UsageError(
                f"--gin_param '{param}': the sweep sets FOLD itself, to each number below --folds: drop it"
            )


def main(argv: Sequence[str]) -> int:
    """Runs the folds that the command line asks for; returns the exit status."""
    signals = Signals()  # before any other thread
    parser = argparse.ArgumentParser(
        prog="python -m launch.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run_dir", required=True, action="append", help="the folder of all folds")
    parser.add_argument("--folds", type=int, required=True, help="how many runs: FOLD = 0 to that number less 1")
    parser.add_argument("--at_once", type=int, default=1, help="how many of them at the same time, on this machine")
    parser.add_argument(
        "--on_ray", action="store_true", help="on the cluster of RAY_ADDRESS, else on all processors here"
    )
    options, flags = parser.parse_known_args(argv)
    if options.folds < 2 or options.at_once < 1:
        raise UsageError("--folds is at least 2, --at_once at least 1")
    directory = RunDirectory(options.run_dir[0])
    run_dir = str(directory.path)
    parsed = parse(["launch.sweep", f"--run_dir={run_dir}", *flags])
    if parsed is None:
        return 0
    if len(options.run_dir) > 1 or parsed.run_dir != run_dir:
        raise UsageError("--run_dir is given more than once: name one folder, for all folds")
    _require_training(parsed, run_dir)
    signals.tell = lambda line: print(line, flush=True)
    signals.wait_for_boundaries()
    if options.on_ray:
        metrics = _on_ray(run_dir, options.folds, _cluster(parsed), flags, signals.requests)
    else:
        run = lambda fold, halt: run_fold(run_dir, fold, flags, halt, Origin.here())
        metrics = _run_all(run, options.folds, options.at_once, signals.requests)
    if len(metrics) < options.folds:
        first = min(set(range(options.folds)) - metrics.keys())
        print(f"stopped by {signals.requests.pending.words}; the same command goes on with fold {first}")
        return signals.requests.pending
    _write(directory, metrics)
    print(table(metrics))
    return 0


if __name__ == "__main__":
    guarded(lambda: main(sys.argv[1:]))
