"""--launcher=local: runs the experiment in this process."""

import importlib.util
import os
import time
from typing import TYPE_CHECKING, Any

from launch import cluster, configuration
from trainer.chatter import without_chatter
from trainer.config import text
from trainer.errors import UsageError
from trainer.goodput import Ledger, wall
from trainer.requests import Requests
from trainer.run_directory import RunDirectory
from trainer.signals import Signals

if TYPE_CHECKING:
    from trainer.console import Console


def launch(flags: configuration.Flags, signals: Signals, started: float) -> int:
    """Runs the mode that the flags ask for, and returns the exit status.

    Args:
      started: when the process started, on the clock of time.monotonic().

    Raises:
      UsageError: flags, configuration or input are wrong.
    """
    with without_chatter():
        import tensorflow  # noqa: F401
    directory = RunDirectory(flags.run_dir or ".")
    workers = _workers(flags)
    # Of processes that train together the first one writes; which that is, is known when they have met.
    if flags.mode == "train" and (flags.launcher == "ray" or "TF_CONFIG" not in os.environ):
        directory.require_free()
    content, dropped, strategy = configuration.prepare(directory, flags)
    if flags.mode == "check":
        from launch import check

        return check.launch(content, signals)
    from trainer.console import Console

    console = Console()
    for line in dropped:
        console.say(f"ignored, since a later choice left it without use: {line}")

    if flags.launcher == "ray":
        if workers[1] > 1 and strategy in ("trainer.strategies.default", "trainer.strategies.mirrored"):
            raise UsageError(
                f"--num_workers={flags.num_workers} with {strategy}: each worker would train by itself; add "
                f"--strategy=multi_worker"
            )
        from launch import ray_launcher

        return ray_launcher.launch(content, directory, workers, signals, started)

    def begun() -> None:
        signals.tell = console.say
        signals.wait_for_boundaries()

    options = {"input": flags.input, "output": flags.output}
    return run(
        content, directory, flags.mode, signals.requests, Ledger(wall(started)), console, begun=begun, options=options
    )


def _workers(flags: configuration.Flags) -> tuple[int, int]:
    """The least and the most workers; raises UsageError if the flags do not go together, or Ray is not there."""
    workers = cluster.Cluster.number_of_workers(flags.num_workers)
    if flags.launcher == "local":
        if workers != (1, 1):
            raise UsageError(f"--num_workers={flags.num_workers} has no effect without --launcher=ray: add that")
        return workers
    if flags.mode != "train":
        raise UsageError(f"--mode={flags.mode} runs in one process: drop --launcher=ray")
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--launcher=ray needs Ray: pip install 'convoy-train[ray]'")
    return workers


def run(
    content: str,
    directory: RunDirectory,
    mode: str,
    requests: Requests,
    ledger: Ledger,
    console: "Console",
    **more: Any,
) -> int:
    """Runs one mode of a checked configuration, given as text, in this process; `more` is of the Invocation."""
    with without_chatter():
        from trainer.experiment import Invocation
    experiment = text.load(content, configuration.ROOT)
    return experiment(Invocation(mode, directory, content, text.operative, console, requests, ledger, **more))


def process_start() -> float:
    """When this process started, on the clock of time.monotonic(); now, where /proc does not tell."""
    try:
        with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
            ticks = float(stat.read().rsplit(")", 1)[1].split()[19])
            age = float(uptime.read().split()[0]) - ticks / 100
        return time.monotonic() - max(0.0, age)
    except (OSError, IndexError, ValueError):
        return time.monotonic()
