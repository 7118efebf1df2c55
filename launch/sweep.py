"""Cross-validation: runs of one configuration that differ in the macro FOLD, and a table of their results.

    python -m launch.sweep --gin_file=runs/titanic_kfold.gin --run_dir=DIR --folds=10 [--at_once=2] [--on_ray] …

Each fold is a run of its own in DIR/fold_0 and so on, as `python -m trainer.main` would start it with FOLD = 0; other
flags, shown as … here, are passed on to it. SIGINT, SIGTERM or a fold that fails stop the running folds, which save
first. The same command again resumes the folds that are not finished. The results are printed as a table, and written
to DIR/sweep.json and to DIR/tensorboard, for TensorBoard's tab HParams. On Ray each fold gets the resources and the
runtime environment that launch.on_ray.cluster.Cluster gives to a worker.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence

from launch import cli, dispatch, fold_results, folds
from launch.command import Command
from launch.origin import Origin
from trainer.base.errors import UsageError
from trainer.lifecycle.process_exit import guarded
from trainer.lifecycle.signals import Signals
from trainer.rundir.directory import RunDirectory


def launch(command: Command, number: int, at_once: int, on_ray: bool, signals: Signals) -> int:
    """Runs a command once per fold, and prints and writes their table; returns the exit status.

    Args:
      command: what each fold does, but for FOLD; its run directory is that of all folds.
      number: of folds.
      at_once: how many of them run at a time, on this machine.
      on_ray: whether they run on Ray instead, as many at a time as there is room for.
      signals: of this process, made before TensorFlow was imported.

    Raises:
      UsageError: the folds make no sense, or one of them found configuration or input to be wrong.
      TrainingError: a fold failed.
    """
    directory = RunDirectory(command.run_dir)
    command = dataclasses.replace(command, run_dir=directory.where)  # absolute: on other nodes it is needed, too
    if number < 2 or at_once < 1:
        raise UsageError("--folds is at least 2, --at_once at least 1")
    _require_training(command)
    if on_ray:
        dispatch.require_ray("--on_ray")
    signals.tell = lambda line: print(line, flush=True)
    signals.wait_for_boundaries()
    requests = signals.stop_requests
    if on_ray:
        from launch.on_ray import folds as folds_on_ray  # needs Ray, which need not be installed

        metrics = folds_on_ray.run_all(command, number, requests)
    else:
        origin = Origin.here()
        run = lambda fold, halt: folds.run_fold(command, fold, halt, origin)
        metrics = folds.run_all(run, number, at_once, requests)
    if len(metrics) < number:
        first = min(set(range(number)) - metrics.keys())
        print(f"stopped by {requests.pending.words}; the same command goes on with fold {first}")
        return requests.pending
    fold_results.write(directory, metrics)
    print(fold_results.table(metrics))
    return 0


def _require_training(command: Command) -> None:
    """Raises UsageError if the folds would do anything but train, or FOLD is set already."""
    if command.mode != "train":
        raise UsageError(
            f"--mode={command.mode}: a sweep trains its folds: drop it, or give it to python -m trainer.main with "
            f"--run_dir={command.run_dir}/fold_0 or another of them"
        )
    for param in command.source.gin_params:
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
    parser.add_argument("--folds", type=int, required=True, help="how many runs, with FOLD = 0, 1, … in turn")
    parser.add_argument("--at_once", type=int, default=1, help="how many of them at a time, on this machine")
    parser.add_argument(
        "--on_ray", action="store_true", help="on the Ray cluster of RAY_ADDRESS, or a Ray on this machine"
    )
    options, others = parser.parse_known_args(argv)
    command = cli.parse([f"--run_dir={options.run_dir[0]}", *others])
    if command is None:
        return 0
    if len(options.run_dir) > 1 or command.run_dir != options.run_dir[0]:
        raise UsageError("--run_dir is given more than once: name one folder, for all folds")
    return launch(command, options.folds, options.at_once, options.on_ray, signals)


if __name__ == "__main__":
    guarded(lambda: main(sys.argv[1:]))
