"""--launcher=local: runs the experiment in this process, and turns signals into stop requests. Starts no other one.

Another cluster manager may have started others, with a TF_CONFIG; if one of them is lost, this process ends, too.
"""

from launch import process
from launch.command import Command
from trainer.base.errors import TrainingError
from trainer.distributed import lost_workers
from trainer.lifecycle.goodput import Goodput, wall
from trainer.lifecycle.signals import Signals
from trainer.modes.invocation import Invocation, ProcessSetup
from trainer.observe.console import Console
from trainer.rundir.directory import RunDirectory

# So long a worker stays that has noticed a loss itself. Others may be waiting for this one alone: if it left before
# TensorFlow's heartbeats have told them who was lost, after 11 s at most, they would take it for the lost one.
_SECONDS_FOR_THE_OTHERS = 12.0


def launch(command: Command, gin_text: str, directory: RunDirectory, signals: Signals, started: float) -> int:
    """Runs a command; returns the exit status.

    Args:
      command: the command.
      gin_text: its checked configuration.
      directory: of the run.
      signals: of this process.
      started: when the process started, in seconds of time.monotonic().

    Raises:
      UsageError: as process.run.
      TrainingError: as process.run; or another worker of TF_CONFIG was lost.
    """
    console = Console()

    def begun() -> None:
        signals.tell = console.say
        signals.wait_for_boundaries()

    try:
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
    except Exception as error:
        loss = lost_workers.of(error)
        if loss is None:
            raise
        if not loss.known:
            signals.stop_requests.wait(_SECONDS_FOR_THE_OTHERS)
        raise TrainingError(
            f"{loss.said}: start all workers again with the same command; they go on from the newest checkpoint"
        ) from error
