"""The exceptions that a person can act on without a traceback, and what is made of those of user code.

Prints nothing; lifecycle/process_exit.py does.
"""

import contextlib
import errno
import os
import re
import traceback
from collections.abc import Iterator

_TRAINER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_NOT_THE_USERS = (_TRAINER, os.path.join(os.path.dirname(_TRAINER), "launch"), "site-packages", "dist-packages")
# How the text begins that gin appends for each configurable that an exception passes through.
_OF_GIN = "\n  In call to configurable"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class _Told(Exception):
    """message: the text to show. An attribute, because gin rewrites the text of exceptions that pass through it."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


class UsageError(_Told):
    """Wrong usage, configuration or input, found before anything was written.

    The message names the setting and the remedy; the process exits with 2.
    """


class TrainingError(_Told):
    """A failure while running that needs no traceback to be understood; the process exits with 1."""


class EnvironmentTrouble(TrainingError):
    """A failure of a disk, a network share or a network, which may pass: another attempt is worth a try."""


# Errors of the system that are nobody's mistake in configuration or code.
_OF_ENVIRONMENT = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.ETIMEDOUT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.ECONNRESET, errno.ECONNABORTED,
    errno.ENOTCONN,
)  # fmt: skip


def of_environment(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is of a disk, a network share or a network, and may pass.

    TensorFlow's own writers say so in words alone.
    """
    while error is not None:
        if isinstance(error, EnvironmentTrouble) or getattr(error, "errno", None) in _OF_ENVIRONMENT:
            return True
        if hasattr(error, "error_code") and any(os.strerror(number) in str(error) for number in _OF_ENVIRONMENT):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def building(what: str) -> Iterator[None]:
    """Within this context, exceptions become a UsageError in one line, with the user's own file and line.

    For the factories of a configuration: what they raise is wrong configuration or input. Errors that mean another
    process was lost are passed on, and those of a disk or a network become EnvironmentTrouble.

    Args:
      what: the thing that is made, for the message: '<what> cannot be made: …'.
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
        kind = EnvironmentTrouble if of_environment(error) else UsageError
        raise kind(f"{what} cannot be made: {type(error).__name__}: {said} (at {where})") from error


def _in_one_line(said: str) -> str:
    """The text without gin's additions, Keras's colours, and the stack frames that TensorFlow puts into messages."""
    lines = _COLOURS.sub("", said.split(_OF_GIN)[0]).splitlines()
    return " ".join(" ".join(line for line in lines if not line.startswith("  File ")).split())


def place(error: BaseException) -> str:
    """'file:line' of the user's own code that led to an error; of the innermost frame, if none is the user's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frame = _frame(error)
    return f"{frame.filename}:{frame.lineno}"


def with_place(error: BaseException) -> str:
    """What an error is, and where the user's own code led to it."""
    return f"{type(error).__name__}: {error} (at {place(error)})"


def of_other_processes(error: BaseException) -> bool:
    """Whether a collective raises this error when another process has left it.

    Creating a variable is a collective, too.
    """
    from tensorflow import errors  # callers have imported it already; importing this module must stay fast

    left = (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.DeadlineExceededError)
    return isinstance(error, left)


def own_trace(error: BaseException) -> str:
    """The traceback as text, with only the user's own frames; with all frames, if none is the user's."""
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
