"""The exceptions that a person can act on without reading a traceback, and what to make of those of user code."""

import contextlib
import os
import re
import traceback
from collections.abc import Iterator

_HERE = os.path.dirname(os.path.abspath(__file__))
_NOT_THE_USERS = (_HERE, os.path.join(os.path.dirname(_HERE), "launch"), "site-packages", "dist-packages")
# What gin adds for each of its calls that an error passes begins so.
_OF_GIN = "\n  In call to configurable"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class _Told(Exception):
    """message: what is shown. An attribute, because gin rewrites the text of whatever passes through it."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


class UsageError(_Told):
    """Wrong usage, configuration or input, found before anything was written.

    The message names the knob and the remedy; the process exits with 2.
    """


class TrainingError(_Told):
    """A failure while running that needs no traceback to be understood; the process exits with 1."""


@contextlib.contextmanager
def building(what: str) -> Iterator[None]:
    """Within this context, whatever the factories of a configuration raise is wrong configuration or input.

    But for the errors that say that another process was lost.
    """
    try:
        yield
    except (UsageError, TrainingError):
        raise
    except Exception as error:
        if of_other_processes(error):
            raise
        said = _in_one_line(str(error))
        where = f"{place(error)}: {_frame(error).line}"
        raise UsageError(f"{what} cannot be made: {type(error).__name__}: {said} (at {where})") from error


def _in_one_line(said: str) -> str:
    """Without what gin adds, Keras's colours, and the frames that TensorFlow names of where a graph was made."""
    lines = _COLOURS.sub("", said.split(_OF_GIN)[0]).splitlines()
    return " ".join(" ".join(line for line in lines if not line.startswith("  File ")).split())


def place(error: BaseException) -> str:
    """'file:line' of the user's own code that led to an error; of the innermost code, if none of it is the user's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frame = _frame(error)
    return f"{frame.filename}:{frame.lineno}"


def of_other_processes(error: BaseException) -> bool:
    """Whether it is what a collective raises when another process has left it; to make a variable is one, too."""
    from tensorflow import errors  # which whoever asks has imported; this module must not be slow to import

    left = (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.DeadlineExceededError)
    return isinstance(error, left)


def own_trace(error: BaseException) -> str:
    """A traceback of the user's own frames; of all frames, if none of them is the user's."""
    own = _own(traceback.extract_tb(error.__traceback__))
    if not own:
        return "".join(traceback.format_exception(error)).strip()
    said = str(error).split(_OF_GIN)[0]
    return f"{''.join(traceback.format_list(own))}{type(error).__name__}: {said}"


def _frame(error: BaseException) -> traceback.FrameSummary:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    return (_own(frames) or frames)[-1]


def _own(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    return [frame for frame in frames if not any(part in frame.filename for part in _NOT_THE_USERS)]
