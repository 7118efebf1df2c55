"""Signals in a Ray worker, whose threads exist before anything here runs: noticed at once, as requests to leave.

Blocking them (trainer/signals.py) would come too late, and Python's handlers wait for the main thread. But the C part
of such a handler writes the signal's number into a pipe at once, and a thread reads that.
"""

import ctypes
import os
import signal
import threading
import time

from trainer.requests import Reason, Requests
from trainer.signals import REASONS

_requests = Requests()


def requests() -> Requests:
    """What this process has been asked for, by signals and by whoever else asks there."""
    return _requests


def notice() -> None:
    """From now on signals are requests. To be called on the main thread, once a process."""
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
            _requests.ask(Reason.LEAVE)  # this worker is told to; the run may go on without it


def _keep(handlers: dict[signal.Signals, int]) -> None:
    """TensorFlow's multi-worker strategy installs a handler of its own, which keeps the signal to itself."""
    while True:
        for number, handler in handlers.items():
            if _get(number) != handler:
                _set(number, handler)
        time.sleep(0.1)


_get = ctypes.pythonapi.PyOS_getsig
_get.restype, _get.argtypes = ctypes.c_void_p, (ctypes.c_int,)
_set = ctypes.pythonapi.PyOS_setsig
_set.restype, _set.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
