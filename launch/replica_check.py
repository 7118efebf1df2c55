"""--mode=check: runs the user's own task on one and on two virtual devices, in two processes, and prints the verdict.

The records are made in modes/check.py and compared in modes/comparison.py.
"""

import sys
import tempfile
from pathlib import Path

from launch import child, prepare, process
from launch.command import Command
from launch.origin import Origin
from trainer.base.errors import TrainingError
from trainer.lifecycle.goodput import Goodput, wall
from trainer.lifecycle.process_exit import guarded
from trainer.lifecycle.signals import Signals
from trainer.lifecycle.stop_requests import StopRequests
from trainer.modes.invocation import Invocation, ProcessSetup
from trainer.observe.console import Console
from trainer.rundir.directory import RunDirectory

_REPLICAS = 2


def launch(command: Command, signals: Signals) -> int:
    """Checks a command's configuration; returns 0 if the two agree, and 1 if not.

    Without a gin file it is that of the run in the command's run directory.

    Raises:
      UsageError: configuration or input are wrong.
      TrainingError: a process failed; the message holds its standard error.
    """
    prepared = prepare.prepare(command, RunDirectory(command.run_dir or "."))
    signals.wait_for_boundaries()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="convoy-check-") as name:
        folder = Path(name)
        (folder / "config.gin").write_text(prepared.gin_text)
        for replicas in (1, _REPLICAS):
            console.say(f"running on {replicas} virtual device{'s' if replicas > 1 else ''}")
            _run(folder, replicas, signals.stop_requests)
            if signals.stop_requests.pending:
                return signals.stop_requests.pending
        from trainer.modes.comparison import compare  # imports NumPy, which starts threads, as TensorFlow does

        differences = compare(folder, _REPLICAS)
    for found in differences:
        where = f"  worst at {found.where}" if found.where else ""
        console.say(f"{'agree ' if found.agrees else 'DIFFER'}  {found.quantity:<20} {found.worst:.1e}{where}")
    for found in differences:
        if found.explanation:
            console.say(f"{found.quantity}: {found.explanation}")
    agree = all(found.agrees for found in differences)
    console.say("one and two devices compute the same" if agree else "the result depends on the replicas")
    return 0 if agree else 1


def _run(folder: Path, replicas: int, requests: StopRequests) -> None:
    """Has a process record what it computes on so many devices."""
    # A GPU's rounding would hide the differences that are looked for.
    environment = {"CUDA_VISIBLE_DEVICES": "-1"}
    arguments = ["-m", "launch.replica_check", str(folder), str(replicas)]
    try:
        child.run(arguments, requests, Origin.here(), saves=False, shown=True, environment=environment)
    except TrainingError as error:
        raise TrainingError(f"the process on {replicas} virtual device(s) failed:\n{error.message}") from None


def _record(folder: Path, replicas: int) -> int:
    """What such a process does; returns its exit status."""
    return process.run(
        Invocation(
            "check",
            RunDirectory(folder / "no_run"),  # never created
            process.configuration((folder / "config.gin").read_text()),
            Console(),
            Goodput(wall()),
            Signals().stop_requests,
            ProcessSetup(virtual_replicas=replicas, most_processes=_REPLICAS // replicas),
            {"folder": str(folder)},
        )
    )


if __name__ == "__main__":
    guarded(lambda: _record(Path(sys.argv[1]), int(sys.argv[2])))
