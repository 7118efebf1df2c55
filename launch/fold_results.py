"""What folds have come to: read from their reports, shown as a table, and written for programs and TensorBoard.

Runs no folds; imports TensorFlow only to write.
"""

import fnmatch
import json
import statistics
from collections.abc import Mapping

from trainer.lifecycle.quiet_imports import quiet_imports
from trainer.rundir.directory import TENSORBOARD, RunDirectory

# Of held-out data in one fold, by '<split>/<name>'; None for a number that is not finite.
Metrics = Mapping[str, float | None]


def read(directory: RunDirectory) -> Metrics:
    """The metrics of held-out data in a finished fold's report."""
    metrics: Metrics = directory.read_report()["metrics"]
    return {name: value for name, value in metrics.items() if not name.startswith("train/")}


def table(metrics: Mapping[int, Metrics]) -> str:
    """One row per fold, then mean and sample standard deviation of each metric over the folds, of which there are two.

    A missing number is shown as -, and so are mean and deviation then, which would be of fewer folds.
    """
    folds = sorted(metrics)
    columns = [["fold", *map(str, folds), "mean", "deviation"]]
    for name in sorted({name for each in metrics.values() for name in each}):
        values = [metrics[fold].get(name) for fold in folds]
        numbers = [value for value in values if value is not None]
        complete = len(numbers) == len(values)
        values += [statistics.mean(numbers), statistics.stdev(numbers)] if complete else [None, None]
        columns.append([name, *("-" if value is None else f"{value:.4f}" for value in values)])
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def write(directory: RunDirectory, metrics: Mapping[int, Metrics]) -> None:
    """Writes sweep.json and one trial per fold for TensorBoard's tab HParams, over those of an earlier command.

    Sweeps in different folders keep apart in one TensorBoard, which takes runs with equal trial_id for the same trial.
    """
    with quiet_imports():
        import tensorflow as tf
        from tensorboard.plugins.hparams import api

    for name in directory.store.sizes(TENSORBOARD):
        if fnmatch.fnmatchcase(name, f"{TENSORBOARD}/fold_*/*tfevents*"):
            directory.store.remove(name)
    for fold, values in metrics.items():
        with tf.summary.create_file_writer(str(directory.path / TENSORBOARD / f"fold_{fold}")).as_default(step=0):
            api.hparams({"sweep": directory.where.rpartition("/")[2], "fold": fold}, f"{directory.where}/fold_{fold}")
            for name, value in values.items():
                if value is not None:
                    tf.summary.scalar(name, value)
    directory.send()
    directory.write("sweep.json", json.dumps(metrics, indent=2) + "\n")
