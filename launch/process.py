"""Runs one experiment in this process; every launcher ends here. Does not decide which processes train together."""

from launch import prepare
from trainer.config import text
from trainer.lifecycle.quiet_imports import quiet_imports
from trainer.modes.invocation import ConfigurationText, Invocation


def run(invocation: Invocation) -> int:
    """Runs one mode of a checked configuration; returns the exit status of its process.

    Raises:
      UsageError: configuration or input are wrong.
      TrainingError: the run failed.
    """
    with quiet_imports():
        import trainer.experiment  # noqa: F401
    experiment = text.load(invocation.configuration.gin_text, prepare.ROOT)
    try:
        status: int = experiment(invocation)
        return status
    finally:
        invocation.directory.give_back()


def configuration(gin_text: str) -> ConfigurationText:
    """Wraps a checked configuration for an Invocation in this process."""
    return ConfigurationText(gin_text, text.operative)
