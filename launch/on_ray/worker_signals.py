"""Signals in a Ray worker: noticed at once, as stop requests with the reason LEAVE. Ends nothing itself.

A worker's threads exist before anything here runs, so blocking signals (trainer/lifecycle/signals.py) would come too
late, and Python's handlers wait for the main thread. But the C part of a handler writes the signal's number into a pipe
at once (set_wakeup_fd), and a thread reads that.
"""

import ctypes
import os
import signal
import threading
import time

from trainer.lifecycle.signals import REASONS
from trainer.lifecycle.stop_requests import StopReason, StopRequests

_requests = StopRequests()


def requests() -> StopRequests:
    """The stop requests of this process, by signals and by the status board."""
    return _requests


def notice() -> None:
    """From now on signals become stop requests. Call it on the main thread, once per process."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in REASONS:
        signal.signal(number, lambda number, frame: None)
    handlers = {number: _get(number) for number in REASONS}
    threading.Thread(target=_read, args=(reading,), name="signals", daemon=True).start()
    threading.Thread(target=_keep, args=(handlers,), name="signal handlers", daemon=True).start()


def _read(pipe: int) -> None:
    while numbers := os.read(pipe, 16):
        if set(numbers) & set(REASONS):
            _requests.ask(StopReason.LEAVE)  # the signal is for this worker; the run may go on without it


def _keep(handlers: dict[signal.Signals, int]) -> None:
    """Puts the handlers back: TensorFlow's multi-worker strategy installs its own, which passes nothing on."""
    while True:
        for number, handler in handlers.items():
            if _get(number) != handler:
                _set(number, handler)
        time.sleep(0.1)


_get = ctypes.pythonapi.PyOS_getsig
_get.restype, _get.argtypes = ctypes.c_void_p, (ctypes.c_int,)
_set = ctypes.pythonapi.PyOS_setsig
_set.restype, _set.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
