"""Runs on a worker's node: reads the stacks of a process from outside, and kills it. Decides nothing."""

import os
import signal
import subprocess
import sysconfig
from pathlib import Path

_SECONDS_FOR_A_STACK = 10
# Frames of threads that every worker has: Ray's, and those for signals and heartbeats.
_NOT_OF_THE_RUN = ("(ray/", "(threading.py", "(launch/", "(concurrent/")


def dump_and_kill(pid: int) -> str:
    """Returns the stacks of a Python process, as far as they can be read, and kills it.

    Works without the process's cooperation: it may be stopped, or stuck in native code.
    """
    stacks = _stacks(pid)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return f"{stacks}\n(process {pid} had ended by itself)"
    return stacks


def relevant(stacks: str) -> str:
    """Returns only the stacks of threads that do the run's work, for the console; all stacks if there are none."""
    threads = stacks.split("\nThread ")[1:]
    kept = [thread for thread in threads if any(_is_the_runs(frame) for frame in thread.splitlines()[1:])]
    return "\n".join(f"Thread {thread.rstrip()}" for thread in kept) or stacks


def _is_the_runs(frame: str) -> bool:
    return bool(frame.strip()) and not any(place in frame for place in _NOT_OF_THE_RUN)


def _stacks(pid: int) -> str:
    program = Path(sysconfig.get_path("scripts")) / "py-spy"
    try:
        done = subprocess.run(
            # Otherwise py-spy waits until the process has paused for it, which a stopped one never does.
            [program, "dump", "--nonblocking", "--pid", str(pid)],
            capture_output=True, text=True, timeout=_SECONDS_FOR_A_STACK,
        )  # fmt: skip
        return done.stdout.strip() or f"(py-spy: {done.stderr.strip().splitlines()[0]})"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"(no stack: {error})"
