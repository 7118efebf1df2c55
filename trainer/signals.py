"""SIGTERM and SIGINT: noticed at once, acted on at the next step boundary.

Python's own handlers wait for the end of a host call and TensorFlow's strategies replace them. So the signals are
blocked in every thread, which only works before other threads exist (that is: before TensorFlow is imported), and one
thread waits for them.
"""

import os
import signal
import threading
from collections.abc import Callable

from trainer.requests import Reason, Requests

REASONS = {signal.SIGTERM: Reason.TERMINATED, signal.SIGINT: Reason.INTERRUPTED}


class Signals:
    """Turns the first signal into a request; a second one ends the process there and then."""

    def __init__(self) -> None:
        self.requests = Requests()
        self.tell: Callable[[str], None] = lambda line: None
        self._graceful = False
        signal.pthread_sigmask(signal.SIG_BLOCK, REASONS)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def wait_for_boundaries(self) -> None:
        """From now on somebody looks at the requests; until then a signal simply ends the process."""
        self._graceful = True

    def _wait(self) -> None:
        while True:
            number = signal.sigwait(REASONS)
            if self.requests.pending or not self._graceful:
                os._exit(128 + number)
            self.requests.ask(REASONS[signal.Signals(number)])
            self.tell(
                f"{signal.Signals(number).name} received: saving at the next boundary; "
                f"once more stops at once, without saving"
            )
