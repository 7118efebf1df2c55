"""--mode=check: runs the user's own task on one and on two virtual devices, a process each, and compares them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trainer.chatter import without_chatter
from trainer.errors import TrainingError, UsageError
from trainer.goodput import Ledger, wall
from trainer.signals import Signals

_REPLICAS = 2
_EXPLANATIONS = {
    "every example twice": "the mean loss changes with the number of examples in a batch: the task divides by the "
    "batch size itself, or mixes examples",
    "padding": "examples that are not valid count: multiply values and counts by batch['valid']",
    "losses": "random numbers that do not come from the layers or from `seed`, or arithmetic that depends on the "
    "replica",
}


def launch(content: str, signals: Signals) -> int:
    """Checks a configuration, given as text; returns 0 if both agree and 1 if they do not.

    Raises:
      UsageError: configuration or input are wrong.
      TrainingError: a process failed; its own words have been shown.
    """
    from trainer.console import Console

    signals.wait_for_boundaries()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="convoy-check-") as name:
        folder = Path(name)
        (folder / "config.gin").write_text(content)
        for replicas in (1, _REPLICAS):
            console.say(f"running on {replicas} virtual device{'s' if replicas > 1 else ''}")
            _run(folder, replicas, signals)
            if signals.requests.pending:
                return signals.requests.pending
        from trainer.modes.check import compare

        differences = compare(folder, _REPLICAS)
    for found in differences:
        where = f"  worst at {found.where}" if found.where else ""
        console.say(f"{'agree ' if found.agrees else 'DIFFER'}  {found.quantity:<20} {found.worst:.1e}{where}")
    wrong = [found for found in differences if not found.agrees]
    for found in wrong:
        if found.quantity in _EXPLANATIONS:
            console.say(f"{found.quantity}: {_EXPLANATIONS[found.quantity]}")
    console.say("the result depends on the replicas" if wrong else "one and two devices compute the same")
    return 1 if wrong else 0


def _run(folder: Path, replicas: int, signals: Signals) -> None:
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "-1",  # rounding on a GPU would hide what is looked for
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    with (folder / "errors").open("wb") as errors:
        command = [sys.executable, "-m", "launch.check", str(folder), str(replicas)]
        process = subprocess.Popen(command, env=environment, stderr=errors)
        while process.poll() is None:
            if signals.requests.pending:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.05)
    if not signals.requests.pending and process.returncode:
        said = (folder / "errors").read_text(errors="replace").strip()
        if process.returncode == 2:
            raise UsageError(said.removeprefix("error: "))
        raise TrainingError(f"the process on {replicas} virtual device(s) failed:\n{said}")


def _child(folder: Path, replicas: int) -> int:
    """Entry of a process that records."""
    with without_chatter():
        from launch import local
        from trainer.console import Console
        from trainer.run_directory import RunDirectory

    content = (folder / "config.gin").read_text()
    directory = RunDirectory(folder / "no_run")  # never made
    return local.run(
        content,
        directory,
        "check",
        Signals().requests,
        Ledger(wall()),
        Console(),
        options={"folder": str(folder)},
        replicas=replicas,
        most_replicas=_REPLICAS,
    )


if __name__ == "__main__":
    from trainer.main import guarded

    guarded(lambda: _child(Path(sys.argv[1]), int(sys.argv[2])))
