"""Trying again what failed for a reason that may pass: a disk, a share or a network. Decides nothing else."""

import time
from collections.abc import Callable
from typing import TypeVar

from trainer.base.errors import of_environment

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 8.0
_Result = TypeVar("_Result")


def patiently(attempt: Callable[[], _Result], seconds: float) -> _Result:
    """Returns what `attempt` returns; calls it again, ever more rarely, while it fails for a reason that may pass.

    Args:
      attempt: may be called many times.
      seconds: after that long it is not called again.

    Raises: what `attempt` raised last.
    """
    pause, deadline = _FIRST_PAUSE, time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except Exception as error:
            if not of_environment(error) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
