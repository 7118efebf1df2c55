"""Runs a child process to its end. Knows nothing of what it does, only how Convoy's commands end (process_exit.py)."""

import ctypes
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

from launch.origin import Origin
from trainer.base.errors import TrainingError, UsageError
from trainer.lifecycle.stop_requests import StopRequests

_SECONDS_BETWEEN_LOOKS = 0.05
_PR_SET_PDEATHSIG = 1  # of Linux's prctl()


def run(
    arguments: Sequence[str],
    requests: StopRequests,
    origin: Origin,
    *,
    saves: bool,
    shown: bool = False,
    environment: Mapping[str, str] | None = None,
) -> bool:
    """Runs Python with these arguments; returns whether it came to its own end, and was not stopped before.

    Args:
      arguments: of Python.
      requests: a request stops the child, or keeps it from starting.
      origin: where the child looks for relative paths and modules.
      saves: whether a stop request is passed on as its signal, so that the child can save; otherwise it is killed.
      shown: whether the child's standard output is this process's; otherwise it is dropped.
      environment: additional variables.

    Raises:
      UsageError, TrainingError: as the child ended, with what it wrote to standard error.
    """
    if requests.pending:
        return False
    place, sent = origin.of_child(), 0
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        # In a session of its own: a terminal sends Ctrl-C to every process that it started, and the one passed on here
        # would be the second signal, which ends a run without saving.
        child = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=None if shown else subprocess.DEVNULL,
            stderr=said, start_new_session=True, preexec_fn=_ends_with_this_thread(),
            cwd=place["cwd"], env=place["env"] | (environment or {}),
        )  # fmt: skip
        while child.poll() is None:
            if requests.pending and not sent:
                sent = requests.pending - 128 if saves else signal.SIGKILL
                child.send_signal(sent)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        said.seek(0)
        message = said.read().strip().removeprefix("error: ")
    if sent and child.returncode in (128 + sent, -sent):
        return False
    if child.returncode:
        error = UsageError if child.returncode == 2 else TrainingError
        raise error(message or f"ended with {child.returncode}")
    return True


def _ends_with_this_thread() -> Callable[[], None] | None:
    """What a new process calls first, so that it does not outlive the thread that waits for it.

    The waiting process may be killed, as Ray's workers are. A run would then train on alone, and hold the lock of its
    directory against the next attempt. PR_SET_PDEATHSIG makes the kernel end it, whatever it is doing: with SIGKILL
    and not SIGTERM, because it must be gone when the next attempt begins, and what it has saved stays.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: little is safe after one in a process with threads
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
