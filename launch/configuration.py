"""From flags to a checked configuration, and whether it may go on in a run directory. Builds and writes nothing."""

from typing import NamedTuple

from trainer.config import check, diff, parse, text
from trainer.config.configuration import Configuration, Key, Reference
from trainer.errors import UsageError
from trainer.run_directory import RunDirectory

ROOT = "trainer.experiment.run"
# What else a configuration may set: a Ray run's own choices, which another launcher leaves alone.
CLUSTER = "launch.cluster.Cluster"
_STRATEGY = Key("", ROOT, "strategy")
# What the launcher passes itself.
GIVEN = ("invocation",)


class Flags(NamedTuple):
    """The flags of a launch, as main parsed them."""

    gin_file: list[str]
    gin_param: list[str]
    run_dir: str
    mode: str
    model: str | None
    strategy: str | None
    launcher: str
    num_workers: str
    allow_config_change: bool
    input: str | None
    output: str | None


class Prepared(NamedTuple):
    """A checked configuration.

    content: as gin text.  dropped: a line for each value that a later choice made irrelevant.
    strategy: full name of what makes the strategy; empty if that is left to its default.
    """

    content: str
    dropped: list[str]
    strategy: str


def prepare(directory: RunDirectory, flags: Flags) -> Prepared:
    """Returns the checked configuration.

    Modes other than train go on with the run's own configuration where no file is named; but in this one process,
    unless a strategy is named.

    Raises:
      UsageError: it is wrong, or differs from the run's in what a resume must not change.
    """
    files, strategy, mode = flags.gin_file, flags.strategy, flags.mode
    if not files:
        if mode == "train":
            raise UsageError("--gin_file is required: name a file, for a start --gin_file=runs/mnist_small.gin")
        if not directory.config.exists():
            raise UsageError(
                f"--gin_file is required, since {directory.config} does not exist: name a file"
                + (", or the --run_dir of a run that has trained" if mode != "check" else "")
            )
        files, strategy = [str(directory.config)], strategy or "default"
    configuration, dropped = check.check(
        parse.read(files, flags.model, strategy, flags.gin_param), ROOT, GIVEN, (CLUSTER,)
    )
    # A run without a checkpoint has nothing yet that another configuration could spoil.
    if mode in ("train", "evaluate", "predict") and directory.has_checkpoints() and not flags.allow_config_change:
        _require_equal(directory, configuration)
    chosen = configuration.final.get(_STRATEGY)
    name = chosen.value.selector if chosen and isinstance(chosen.value, Reference) else ""
    return Prepared(text.text(configuration), dropped, name)


def _require_equal(directory: RunDirectory, configuration: Configuration) -> None:
    if not directory.config.exists():
        raise UsageError(
            f"{directory.config} is missing, so nobody can tell whether the run there was started like this: put it "
            f"back, choose another run_dir, or pass --allow_config_change"
        )
    started_with, _ = check.check(parse.read([str(directory.config)]), ROOT, GIVEN, (CLUSTER,))
    differing = diff.differences(started_with, configuration, diff.free(started_with))
    if differing:
        raise UsageError(
            f"--run_dir={directory.path} belongs to a run with another configuration:\n  "
            + "\n  ".join(differing)
            + "\nchoose another run_dir, restore these values, or pass --allow_config_change"
        )
