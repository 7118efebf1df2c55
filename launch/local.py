"""--launcher=local: runs the experiment in this process."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from launch import configuration
from trainer.config import text
from trainer.run_directory import RunDirectory
from trainer.signals import Signals


class Flags(NamedTuple):
    """The flags of a launch, as main parsed them."""

    gin_file: list[str]
    gin_param: list[str]
    run_dir: str
    mode: str
    model: str | None
    strategy: str | None
    allow_config_change: bool
    input: str | None
    output: str | None


def launch(flags: Flags, signals: Signals, started: float) -> int:
    """Runs the mode that the flags ask for, and returns the exit status.

    Args:
      started: when the process started, on the clock of time.monotonic().

    Raises:
      UsageError: flags, configuration or input are wrong.
    """
    with _without_chatter():
        import tensorflow  # noqa: F401
    directory = RunDirectory(flags.run_dir or ".")
    if flags.mode == "train":
        directory.require_free()
    content, dropped = configuration.prepare(
        directory,
        flags.gin_file,
        flags.model,
        flags.strategy,
        flags.gin_param,
        flags.mode,
        flags.allow_config_change,
    )
    if flags.mode == "check":
        from launch import check

        return check.launch(content, signals)
    return run(
        content, directory, flags.mode, signals, started, dropped, {"input": flags.input, "output": flags.output}
    )


def run(
    content: str,
    directory: RunDirectory,
    mode: str,
    signals: Signals,
    started: float,
    dropped: list[str] | None = None,
    options: dict[str, Any] | None = None,
    replicas: int | None = None,
    most_replicas: int | None = None,
) -> int:
    """Runs one mode of a checked configuration, given as text, in this process."""
    with _without_chatter():
        from trainer.experiment import Invocation
    from trainer.console import Console
    from trainer.goodput import Ledger

    console = Console()
    for line in dropped or []:
        console.say(f"ignored, since a later choice left it without use: {line}")
    experiment = text.load(content, configuration.ROOT)
    invocation = Invocation(
        mode,
        directory,
        content,
        text.operative,
        console,
        signals,
        Ledger(started),
        options or {},
        replicas,
        most_replicas,
    )
    return experiment(invocation)


def process_start() -> float:
    """When this process started, on the clock of time.monotonic(); now, where /proc does not tell."""
    try:
        with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
            ticks = float(stat.read().rsplit(")", 1)[1].split()[19])
            age = float(uptime.read().split()[0]) - ticks / 100
        return time.monotonic() - max(0.0, age)
    except (OSError, IndexError, ValueError):
        return time.monotonic()


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Holds back what native libraries write to standard error while they load; shows it if loading fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
