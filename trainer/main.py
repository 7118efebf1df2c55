"""Flags -> configuration -> launcher: the command line of Convoy.

python -m trainer.main --gin_file=runs/mnist_small.gin --run_dir=runs/first
"""

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from absl import flags

from launch import configuration, local
from trainer.errors import TrainingError, UsageError
from trainer.signals import Signals

FLAGS = flags.FLAGS
_MODES = ("train", "evaluate", "predict", "check")

flags.DEFINE_multi_string("gin_file", [], "A gin file; several are read in order. Looked up as given, then in gin/.")
flags.DEFINE_multi_string("gin_param", [], "One binding or macro, 'NAME = VALUE'; applied last.")
flags.DEFINE_string("run_dir", None, "The run's directory; the same command again resumes the run in it.")
flags.DEFINE_enum(
    "mode",
    "train",
    _MODES,
    "train; evaluate or predict with the newest checkpoint; or check that one and two devices compute the same.",
)
flags.DEFINE_string("model", None, "Includes gin/models/NAME.gin, after the files.")
flags.DEFINE_string("strategy", None, "Includes gin/strategies/NAME.gin, after the model.")
flags.DEFINE_enum("launcher", "local", ["local", "ray"], "How processes are started: this one alone, or on Ray.")
flags.DEFINE_string("num_workers", "1", "With --launcher=ray: how many workers, N or MIN:MAX.")
flags.DEFINE_bool("allow_config_change", False, "Resume although values differ that alter arithmetic or order.")
flags.DEFINE_string("input", None, "With predict: an .npz file with the examples.")
flags.DEFINE_string("output", None, "With predict: the .npz file to write. With evaluate: a .json file to write.")


def parse(argv: list[str]) -> configuration.Flags | None:
    """Returns the flags; None if only help was asked for. Raises UsageError."""
    if {"--help", "-help", "-h", "--helpfull"} & set(argv[1:]):
        print(f"{__doc__}\n{FLAGS.module_help(sys.modules[__name__])}")
        return None
    try:
        rest = FLAGS(argv)[1:]
    except flags.Error as error:
        raise UsageError(f"{error}") from error
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}: every option has a name, as in --gin_file={rest[0]}")
    for name, modes in {"input": ("predict",), "output": ("predict", "evaluate")}.items():
        if getattr(FLAGS, name) is not None and FLAGS.mode not in modes:
            raise UsageError(
                f"--{name} has no effect with --mode={FLAGS.mode}, only with {' or '.join(modes)}: drop it"
            )
    if not FLAGS.run_dir and FLAGS.mode != "check":
        raise UsageError("--run_dir is required: name a directory for the run")
    return configuration.Flags(*(getattr(FLAGS, name) for name in configuration.Flags._fields))


def main(argv: list[str]) -> int:
    """Runs what the command line asks for; returns the exit status."""
    started = local.process_start()
    signals = Signals()  # before TensorFlow, and with it every other thread
    parsed = parse(argv)
    return 0 if parsed is None else local.launch(parsed, signals, started)


def guarded(run: Callable[[], int]) -> NoReturn:
    """Ends the process with what `run` returns, or 2 for wrong usage and 1 for a failure, told in one message."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        status = run()
    except (UsageError, TrainingError) as error:
        print(f"error: {error.message}", file=sys.stderr)
        status = 2 if isinstance(error, UsageError) else 1
    except Exception:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # an ordinary exit may wait for TensorFlow's threads


if __name__ == "__main__":
    guarded(lambda: main(sys.argv))
