"""Runs of one configuration that differ in a number, and what they come to together: a cross-validation.

    python -m launch.sweep --gin_file=runs/titanic_kfold.gin --run_dir=DIR --folds=10 [--at_once=2] [--on_ray] …

Each fold is a run of its own, DIR/fold_0 and so on, which `python -m trainer.main` would start with FOLD = 0 and the
flags that stand for … here. The same command again goes on with those that are not finished. What came of them is shown
as a table, written to DIR/sweep.json, and to DIR/tensorboard for the tab HParams.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainer.chatter import without_chatter
from trainer.errors import TrainingError, UsageError
from trainer.main import guarded


def run_fold(run_dir: str, fold: int, flags: Sequence[str]) -> dict[str, float]:
    """Runs one fold to its end; returns what its report tells of held-out data, as '<split>/<name>'.

    Raises:
      UsageError, TrainingError: as the run ended.
    """
    folder = Path(run_dir) / f"fold_{fold}"
    command = [sys.executable, "-m", "trainer.main", *flags, f"--gin_param=FOLD = {fold}", f"--run_dir={folder}"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        error = UsageError if done.returncode == 2 else TrainingError
        raise error(f"fold {fold}: {done.stderr.strip().removeprefix('error: ') or f'ended with {done.returncode}'}")
    metrics = json.loads((folder / "report.json").read_text())["metrics"]
    return {name: value for name, value in metrics.items() if not name.startswith("train/")}


def table(metrics: Mapping[int, Mapping[str, float]]) -> str:
    """A row a fold, then mean and standard deviation (of a sample) of each metric over the folds."""
    names = sorted({name for each in metrics.values() for name in each})
    rows = [["fold", *names]]
    rows += [[str(fold), *(f"{each[name]:.4f}" for name in names)] for fold, each in sorted(metrics.items())]
    for word, function in (("mean", statistics.mean), ("deviation", statistics.stdev)):
        rows.append([word, *(f"{function([each[name] for each in metrics.values()]):.4f}" for name in names)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _here(run_dir: str, folds: int, at_once: int, flags: Sequence[str]) -> dict[int, dict[str, float]]:
    with ThreadPoolExecutor(at_once) as pool:
        running = {fold: pool.submit(run_fold, run_dir, fold, flags) for fold in range(folds)}
        try:
            return {fold: future.result() for fold, future in running.items()}
        except Exception:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _on_ray(run_dir: str, folds: int, cpus: int, flags: Sequence[str]) -> dict[int, dict[str, float]]:
    """As many at once as there are processors for, on all nodes; run_dir is a path that they share."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UsageError("--on_ray needs Ray: pip install 'convoy-train[ray]'") from error
    ray.init(log_to_driver=False, logging_level="error")
    try:
        # What a run that failed says is meant for a person, and is the same on every node: not tried again.
        task = ray.remote(num_cpus=cpus, max_retries=3, retry_exceptions=False)(run_fold)
        waiting = {fold: task.remote(run_dir, fold, flags) for fold in range(folds)}
        return {fold: ray.get(reference) for fold, reference in waiting.items()}
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    finally:
        ray.shutdown()


def _write(run_dir: Path, metrics: Mapping[int, Mapping[str, float]]) -> None:
    """For TensorBoard's tab HParams: each fold is a trial."""
    with without_chatter():
        import tensorflow as tf
        from tensorboard.plugins.hparams import api

    for fold, values in metrics.items():
        with tf.summary.create_file_writer(str(run_dir / "tensorboard" / f"fold_{fold}")).as_default(step=0):
            api.hparams({"fold": fold}, trial_id=f"fold_{fold}")
            for name, value in values.items():
                tf.summary.scalar(name, value)
    (run_dir / "sweep.json").write_text(json.dumps(metrics, indent=2) + "\n")


def main(argv: Sequence[str]) -> int:
    """Runs the folds that the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run_dir", required=True, help="the folder of all folds")
    parser.add_argument("--folds", type=int, required=True, help="how many runs: FOLD = 0 to that number less 1")
    parser.add_argument("--at_once", type=int, default=1, help="how many of them at the same time, on this machine")
    parser.add_argument(
        "--on_ray", action="store_true", help="on the cluster of RAY_ADDRESS, else on all processors here"
    )
    parser.add_argument("--cpus", type=int, default=1, help="with --on_ray: how many processors a run takes")
    options, flags = parser.parse_known_args(argv)
    if options.folds < 2 or options.at_once < 1 or options.cpus < 1:
        raise UsageError("--folds is at least 2, --at_once and --cpus at least 1")
    run_dir = str(Path(options.run_dir).absolute())
    if options.on_ray:
        metrics = _on_ray(run_dir, options.folds, options.cpus, flags)
    else:
        metrics = _here(run_dir, options.folds, options.at_once, flags)
    _write(Path(run_dir), metrics)
    print(table(metrics))
    return 0


if __name__ == "__main__":
    guarded(lambda: main(sys.argv[1:]))
