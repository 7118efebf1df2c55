"""SIGTERM and SIGINT as requests: noticed at once, acted on at the next boundary of the loop.

Python's own handlers wait for the end of a host call and TensorFlow's strategies replace them. So the signals are
blocked in every thread, which only works before other threads exist (that is: before TensorFlow is imported), and one
thread waits for them.
"""

import os
import signal
import threading
from collections.abc import Callable

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Remembers the first signal that asked this process to stop; a second one ends it there and then."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.tell: Callable[[str], None] = lambda line: None
        self._graceful = False
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    @property
    def exit_code(self) -> int:
        """As a shell reports a process that a signal ended."""
        return 128 + self.received if self.received is not None else 0

    def stop_requested(self) -> bool:
        return self.received is not None

    def wait_for_boundaries(self) -> None:
        """From now on somebody looks at `received`; until then a signal simply ends the process."""
        self._graceful = True

    def _wait(self) -> None:
        while True:
            number = signal.sigwait(_SIGNALS)
            if self.received is not None or not self._graceful:
                os._exit(128 + number)
            self.received = signal.Signals(number)
            self.tell(
                f"{self.received.name} received: saving at the next boundary; once more stops at once, without saving"
            )
