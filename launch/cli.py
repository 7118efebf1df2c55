"""The command line of Convoy: turns flags into a Command and runs it.

python -m trainer.main --gin_file=runs/mnist_small.gin --run_dir=runs/first
"""

import sys
from collections.abc import Sequence

from absl import flags

from launch import dispatch
from launch.command import LAUNCHERS, MODES, WORKERS, Command, ConfigurationSource, Permissions
from trainer.base.errors import UsageError
from trainer.lifecycle.goodput import process_start
from trainer.lifecycle.signals import Signals


def parse(arguments: Sequence[str]) -> Command | None:
    """Returns what the flags ask for; None after printing the help text, if that was asked for.

    The inverse is `Command.flags`.

    Raises:
      UsageError: a flag does not exist or has a wrong value, or the command contradicts itself.
    """
    given = _flags()
    if {"--help", "-help", "-h", "--helpfull"} & set(arguments):
        print(f"{__doc__}\n{given.module_help(sys.modules[__name__])}")
        return None
    try:
        rest = given(["", *arguments])[1:]
    except flags.Error as error:
        raise UsageError(f"{error}") from error
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}: every option has a name, as in --gin_file={rest[0]}")
    return Command(
        ConfigurationSource(tuple(given.gin_file), given.model, given.strategy, tuple(given.gin_param)),
        given.run_dir or "",
        given.mode,
        given.launcher,
        _workers(given.num_workers),
        Permissions(given.allow_config_change, given.allow_unfenced),
        given.input,
        given.output,
    )


def _flags() -> flags.FlagValues:
    """Returns the flags; new ones for each parse, because they remember what was parsed before."""
    new = flags.FlagValues()  # type: ignore[no-untyped-call]
    flags.DEFINE_multi_string(
        "gin_file",
        [],
        "A gin file; several are read in order. Looked up as given, then in the checkout's gin/ or the installed copy.",
        flag_values=new,
    )
    flags.DEFINE_multi_string("gin_param", [], "One binding or macro, 'NAME = VALUE'; applied last.", flag_values=new)
    flags.DEFINE_string(
        "run_dir",
        None,
        "The run's directory: a folder, s3://… or gs://…; the same command again resumes the run in it.",
        flag_values=new,
    )
    flags.DEFINE_enum(
        "mode",
        "train",
        MODES,
        "train; evaluate or predict with the newest checkpoint; or check that one and two devices compute the same.",
        flag_values=new,
    )
    flags.DEFINE_string("model", None, "Includes gin/models/NAME.gin, after the files.", flag_values=new)
    flags.DEFINE_string("strategy", None, "Includes gin/strategies/NAME.gin, after the model.", flag_values=new)
    flags.DEFINE_enum(
        "launcher", "local", LAUNCHERS, "How processes are started: this one alone, or on Ray.", flag_values=new
    )
    flags.DEFINE_string("num_workers", "1", "With --launcher=ray: how many workers, N or MIN:MAX.", flag_values=new)
    flags.DEFINE_bool(
        "allow_config_change",
        False,
        "Resume even if values differ that alter the arithmetic or the order.",
        flag_values=new,
    )
    flags.DEFINE_bool(
        "allow_unfenced",
        False,
        "Train in an object store that does not keep out a second writer.",
        flag_values=new,
    )
    flags.DEFINE_string("input", None, "With predict: an .npz file with the examples.", flag_values=new)
    flags.DEFINE_string(
        "output",
        None,
        "With predict: the .npz file to write. With evaluate: a .json file to write.",
        flag_values=new,
    )
    return new


def _workers(text: str) -> tuple[int, int]:
    """The least and the most workers, of 'N' or 'MIN:MAX'. Raises UsageError if it is neither."""
    least, colon, most = text.partition(":")
    numbers = (least, most if colon else least)
    if not all(number.isdecimal() for number in numbers):
        raise UsageError(f"--num_workers={text}: {WORKERS}")
    return int(numbers[0]), int(numbers[1])


def main(argv: list[str]) -> int:
    """Runs what the command line asks for; returns the exit status."""
    started = process_start()
    signals = Signals()  # before TensorFlow is imported, which starts threads
    command = parse(argv[1:])
    return 0 if command is None else dispatch.launch(command, signals, started)
