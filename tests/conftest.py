"""What all tests share: digits, a train step on one device, and programs run on several."""

import fcntl
import functools
import gc
import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: failures are read more easily

# TensorFlow's objects are many and stay: looking through them for garbage takes a tenth of the time of tracing a graph.
gc.set_threshold(100_000, 50, 100)

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that plain `pytest` finds the checkout, whatever is installed


@pytest.fixture(scope="session")
def run_program():
    """Runs a Python program from the checkout to its end; returns what it printed. It must succeed."""

    def run(*arguments, **environment):
        search = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": search} | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def progress():
    """Calls a function; returns how many pieces of work it counted on the way."""
    from trainer.base import liveness

    def progress(function, *arguments):
        before = liveness.count()
        function(*arguments)
        return liveness.count() - before

    return progress


@pytest.fixture
def converted(monkeypatch):
    """The arrays that trainer.base.unlocked has made tensors and bytes of, in their order."""
    from trainer.base import unlocked

    def watch(function, arrays):
        return lambda array: arrays.append(array) or function(array)

    converted = types.SimpleNamespace(to_tensors=[], to_bytes=[])
    monkeypatch.setattr(unlocked, "tensor", watch(unlocked.tensor, converted.to_tensors))
    monkeypatch.setattr(unlocked, "content", watch(unlocked.content, converted.to_bytes))
    return converted


@pytest.fixture
def longest_wait():
    """Calls a function; returns how long another thread had to wait at most, as a share of the time it took."""

    def longest_wait(function, *arguments):
        waits, done = [], threading.Event()

        def tick():
            last = time.monotonic()
            while not done.wait(0.002):
                waits.append(time.monotonic() - last)
                last += waits[-1]
            waits.append(time.monotonic() - last)

        thread, started = threading.Thread(target=tick), time.monotonic()
        thread.start()
        try:
            function(*arguments)
        finally:
            took = time.monotonic() - started
            done.set()
            thread.join()
        return max(waits) / took

    return longest_wait


@pytest.fixture(scope="session")
def splits():
    """The 5,000 real digits that come with a package."""
    from trainer.data.sources import samples

    return samples.mnist_digits()


@pytest.fixture(scope="session")
def digits(splits):
    """The same digits as arrays: (x uint8 [5000, 28, 28], y int64 [5000])."""
    import numpy as np

    parts = [source.read(np.arange(len(source))) for source in (splits.train, splits.test)]
    return tuple(np.concatenate([part[name] for part in parts]) for name in ("x", "y"))


@pytest.fixture(scope="session")
def on_replicas(run_program, digits, tmp_path_factory):
    """What tests/replicas.py finds on a number of devices, each number once per session: {'case/quantity': array}."""
    import numpy as np

    # Below the folder that all of pytest's processes share.
    alone = os.environ.get("PYTEST_XDIST_WORKER") is None
    folder = (tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent) / "replicas"
    folder.mkdir(exist_ok=True)

    @functools.cache
    def on(replicas):
        path, data = folder / f"{replicas}.npz", folder / f"digits_{os.getpid()}.npz"
        with (folder / f"{replicas}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                np.savez(data, x=digits[0], y=digits[1])
                run_program(ROOT / "tests" / "replicas.py", replicas, data, path)
        with np.load(path) as file:
            return dict(file)

    return on


@pytest.fixture
def new_step():
    """Makes a (DeviceLoop, Input) on one device, with everything that depends on the process set up for it."""
    import examples
    import keras
    import tensorflow as tf

    yield lambda task, arrays, **options: examples.new_step(tf.distribute.get_strategy(), task, arrays, **options)
    keras.mixed_precision.set_global_policy("float32")
