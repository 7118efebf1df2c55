"""SIGTERM and SIGINT: noticed at once, acted on at the next step boundary. Saving is up to the loop.

Python's own handlers run only after a host call, and TensorFlow's strategies replace them. So the signals are blocked
in every thread, which has to happen before other threads exist (that is, before TensorFlow is imported), and one thread
waits for them.
"""

import os
import signal
import threading
from collections.abc import Callable

from trainer.lifecycle.stop_requests import StopReason, StopRequests

REASONS = {signal.SIGTERM: StopReason.TERMINATED, signal.SIGINT: StopReason.INTERRUPTED}


class Signals:
    """Turns the first signal into a stop request; a second one ends the process immediately, with 128 + its number.

    stop_requests: of this process.  tell: prints a line; set by the launcher.
    """

    def __init__(self) -> None:
        self.stop_requests = StopRequests()
        self.tell: Callable[[str], None] = lambda line: None
        self._graceful = False
        signal.pthread_sigmask(signal.SIG_BLOCK, REASONS)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def wait_for_boundaries(self) -> None:
        """From now on the loop acts on stop requests; until then a signal ends the process immediately."""
        self._graceful = True

    def _wait(self) -> None:
        while True:
            number = signal.sigwait(REASONS)
            if self.stop_requests.pending or not self._graceful:
                os._exit(128 + number)
            self.stop_requests.ask(REASONS[signal.Signals(number)])
            self.tell(
                f"{signal.Signals(number).name} received: saving at the next boundary; "
                f"once more stops at once, without saving"
            )
