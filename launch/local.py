"""--launcher=local: runs the experiment in this process, and turns signals into stop requests. Starts no other one."""

from launch import process
from launch.command import Command
from trainer.lifecycle.goodput import Goodput, wall
from trainer.lifecycle.signals import Signals
from trainer.modes.invocation import Invocation, ProcessSetup
from trainer.observe.console import Console
from trainer.rundir.directory import RunDirectory


def launch(command: Command, gin_text: str, directory: RunDirectory, signals: Signals, started: float) -> int:
    """Runs a command; returns the exit status.

    Args:
      command: the command.
      gin_text: its checked configuration.
      directory: of the run.
      signals: of this process.
      started: when the process started, in seconds of time.monotonic().

    Raises: what process.run raises.
    """
    console = Console()

    def begun() -> None:
        signals.tell = console.say
        signals.wait_for_boundaries()

    return process.run(
        Invocation(
            command.mode,
            directory,
            process.configuration(gin_text),
            console,
            Goodput(wall(started)),
            signals.stop_requests,
            ProcessSetup(begun=begun),
            command.options,
        )
    )
