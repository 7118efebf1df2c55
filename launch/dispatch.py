"""Command -> checked configuration -> the launcher that runs it. Starts no process itself."""

import contextlib
import importlib.util
import os

from launch import local, prepare, replica_check
from launch.command import Command
from trainer.base.errors import UsageError
from trainer.lifecycle.quiet_imports import quiet_imports
from trainer.lifecycle.signals import Signals
from trainer.observe.console import Console
from trainer.rundir.directory import RunDirectory

# Strategies for one process: with them, several workers would each train alone.
_ALONE = ("", "trainer.distributed.strategies.default", "trainer.distributed.strategies.mirrored")


def launch(command: Command, signals: Signals, started: float) -> int:
    """Runs a command, and returns the exit status.

    Args:
      command: the command.
      signals: of this process, made before TensorFlow was imported.
      started: when the process started, in seconds of time.monotonic().

    Raises:
      UsageError: configuration or input are wrong, or Ray is not installed; nothing has been written.
      TrainingError: the run failed.
    """
    if command.launcher == "ray":
        require_ray("--launcher=ray")
    # Here, and not at the top of a file: the threads that TensorFlow starts inherit which signals are blocked, and
    # `signals` has blocked them by now. And not later: a configuration imports it, too, but would show its noise.
    with quiet_imports():
        import tensorflow  # noqa: F401
    if command.mode == "check":
        return replica_check.launch(command, signals)
    with contextlib.closing(RunDirectory(command.run_dir, unfenced=command.permissions.unfenced)) as directory:
        return _launch(command, directory, signals, started)


def _launch(command: Command, directory: RunDirectory, signals: Signals, started: float) -> int:
    # Of several processes only rank 0 writes; with TF_CONFIG the ranks are known only later.
    if command.mode == "train" and (command.launcher == "ray" or "TF_CONFIG" not in os.environ):
        directory.require_free()
    prepared = prepare.prepare(command, directory)
    if command.workers[1] > 1 and prepared.strategy in _ALONE:
        raise UsageError(
            f"--num_workers={command.num_workers} with {prepared.strategy or 'one replica'}: each worker would train "
            f"by itself; add --strategy=multi_worker"
        )
    console = Console()
    for line in prepared.dropped:
        console.say(f"ignored, since a later setting made it unused: {line}")
    if command.launcher == "local":
        return local.launch(command, prepared.gin_text, directory, signals, started)
    from launch.on_ray import driver  # needs Ray, which need not be installed

    return driver.launch(command, prepared.gin_text, directory, signals, started)


def require_ray(flag: str) -> None:
    """Raises UsageError if Ray is not installed, which a flag needs."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError(f"{flag} needs Ray: pip install 'convoy-train[ray]'")
