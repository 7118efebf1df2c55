"""Command -> checked configuration, and whether it may resume the run in a directory. Builds and writes nothing."""

from typing import NamedTuple

from launch.command import Command
from trainer.base.errors import UsageError
from trainer.config import diff, parse, text, validation
from trainer.config.configuration import Configuration, Key, Reference
from trainer.rundir.directory import CONFIG, RunDirectory

ROOT = "trainer.experiment.run"
# The other root of a configuration: the settings of a Ray run, which other launchers ignore.
CLUSTER = "launch.on_ray.cluster.Cluster"
_STRATEGY = Key("", ROOT, "strategy")
# Parameters of ROOT that the launcher passes, and no configuration.
GIVEN = ("invocation",)


class Prepared(NamedTuple):
    """A checked configuration.

    gin_text: as the text of a gin file.  dropped: a line for each value that a later setting made unused.
    strategy: full name of the function that makes the strategy; empty for the default.
    """

    gin_text: str
    dropped: list[str]
    strategy: str


def prepare(command: Command, directory: RunDirectory) -> Prepared:
    """Returns a command's checked configuration.

    Without a gin file, modes other than train take the run's own configuration, with the default strategy unless
    another one is named, since they run in one process.

    Raises:
      UsageError: it is wrong, or differs from the run's in values that a resume must not change.
    """
    source, mode = command.source, command.mode
    files, strategy = list(source.gin_files), source.strategy
    if not files:
        if mode == "train":
            raise UsageError("--gin_file is required: name a file, for a start --gin_file=runs/mnist_small.gin")
        config = directory.local_copy(CONFIG)
        if not config.exists():
            raise UsageError(
                f"--gin_file is required, since {directory.where}/{CONFIG} does not exist: name a file"
                + (", or the --run_dir of a run that has trained" if mode != "check" else "")
            )
        files, strategy = [str(config)], strategy or "default"
    configuration, dropped = validation.check(
        parse.read(files, source.model, strategy, source.gin_params), ROOT, GIVEN, (CLUSTER,)
    )
    # Without a checkpoint there is nothing yet that another configuration could spoil.
    if (
        mode in ("train", "evaluate", "predict")
        and directory.has_checkpoints()
        and not command.permissions.config_change
    ):
        _require_equal(directory, configuration)
    chosen = configuration.final.get(_STRATEGY)
    name = chosen.value.selector if chosen and isinstance(chosen.value, Reference) else ""
    return Prepared(text.text(configuration), dropped, name)


def _require_equal(directory: RunDirectory, configuration: Configuration) -> None:
    config = directory.local_copy(CONFIG)
    if not config.exists():
        raise UsageError(
            f"{directory.where}/{CONFIG} is missing, so this configuration cannot be compared with that of the run: "
            f"put the file back, choose another run_dir, or pass --allow_config_change"
        )
    started_with, _ = validation.check(parse.read([str(config)]), ROOT, GIVEN, (CLUSTER,))
    differing = diff.differences(started_with, configuration, diff.free(started_with))
    if differing:
        raise UsageError(
            f"--run_dir={directory.where} belongs to a run with another configuration:\n  "
            + "\n  ".join(differing)
            + "\nchoose another run_dir, restore these values, or pass --allow_config_change"
        )
