"""How a command ends: with an exit status by kind of failure, and one message. Saves nothing.

0 done    1 a failure while running    2 wrong usage, configuration or input    128 + N stopped by signal N
"""

import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from trainer.base.errors import TrainingError, UsageError, of_environment, with_place


def guarded(run: Callable[[], int]) -> NoReturn:
    """Ends the process with the status that `run` returns; after a UsageError with 2, after another exception with 1.

    Of a UsageError, a TrainingError and trouble of a disk or a network only the message is printed, to standard error.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be any bytes
    try:
        status = run()
    except (UsageError, TrainingError) as error:
        print(f"error: {error.message}", file=sys.stderr)
        status = 2 if isinstance(error, UsageError) else 1
    except Exception as error:
        if of_environment(error):
            print(f"error: {with_place(error)}", file=sys.stderr)
        else:
            traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # an ordinary exit may wait for TensorFlow's threads
