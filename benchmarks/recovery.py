"""How long a Ray run takes to train again after it lost a worker, against how long it takes to start.

    python -m benchmarks.recovery [--rounds=5] [--nodes]

Two workers, runs/mnist_small.gin, Ray running already. Cold: from the command to its first step. Recovery: from SIGKILL
of a worker to the next step of the run, as the user sees it on the console. `--nodes`: instead, from SIGKILL of a whole
node, with all its processes, to the next step on the one that is left (`--num_workers=1:2`).
"""

import argparse
import contextlib
import os
import pty
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

_MARK = "CONVOY_BENCHMARK"  # in the environment of all that is started here, which is how it is found again
_SECONDS_OF_TRAINING = 20.0  # between two kills: time to save, and for other processes to import what they need


class Shown:
    """A command in a terminal of its own; what it shows is read as it comes."""

    def __init__(self, *arguments: str, environment: dict[str, str]):
        self._terminal, inner = pty.openpty()
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trainer.main", "--gin_file=runs/mnist_small.gin", "--launcher=ray",
             "--strategy=multi_worker", "--gin_param=SHARDS = 2", "--gin_param=EPOCHS = 1000",
             "--gin_param=CHECKPOINT_EVERY = 50", *arguments],
            env=environment | {"TERM": "xterm", "COLUMNS": "200", "LINES": "40"},
            stdin=subprocess.DEVNULL, stdout=inner, stderr=inner, start_new_session=True,
        )  # fmt: skip
        os.close(inner)
        self.workers: dict[int, int] = {}
        self.attempts, self.seen, self.steps = 0, threading.Condition(), 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        rest = ""
        while True:
            try:
                rest += os.read(self._terminal, 65536).decode(errors="replace")
            except OSError:
                return
            *lines, rest = re.split(r"[\r\n]+", rest)
            with self.seen:
                for line in lines:
                    self._take(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line))
                self.seen.notify_all()

    def _take(self, line: str) -> None:
        if found := re.match(r"worker (\d) .*, process (\d+), ", line):
            self.workers[int(found[1])] = int(found[2])
        elif re.match(r"steps ", line):
            self.attempts, self.steps = self.attempts + 1, 0
        elif re.match(r"step [\d,]+/", line):
            self.steps += 1

    def trains(self, attempt: int) -> float:
        """Waits for a step of that attempt; returns when it was seen."""
        with self.seen:
            if not self.seen.wait_for(lambda: self.attempts >= attempt and self.steps > 0, 300):
                raise RuntimeError("the run does not get on")
            return time.monotonic()

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


def _ray(*arguments: str, environment: dict[str, str]) -> None:
    command = [Path(sys.executable).with_name("ray"), *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _raylets() -> set[int]:
    return {
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists() and b"/raylet/raylet\0" in path.read_bytes()
    }


def _end(mark: str) -> None:
    """Ends all that was started with this mark, and no other Ray of this machine."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{_MARK}={mark}\0".encode() in environment.read_bytes():
                os.kill(int(environment.parent.name), signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nodes", action="store_true")
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "benchmark", "PYTHONPATH": os.getcwd()}
    environment[_MARK] = mark = uuid.uuid4().hex
    environment["RAY_ADDRESS"] = address = f"127.0.0.1:{port}"
    cold, recovery = [], []
    with tempfile.TemporaryDirectory() as folder:
        cpus = 1 if options.nodes else 4
        _ray("start", "--head", f"--port={port}", f"--num-cpus={cpus}", "--include-dashboard=false",
             f"--temp-dir={folder}/ray", environment=environment)  # fmt: skip
        try:
            for number in range(options.rounds):
                if options.nodes:
                    before = _raylets()
                    _ray("start", f"--address={address}", "--num-cpus=1", environment=environment)
                    (node,) = _raylets() - before
                run = Shown(f"--num_workers={'1:2' if options.nodes else 2}", f"--run_dir={folder}/{number}",
                            environment=environment)  # fmt: skip
                cold.append(run.trains(1) - run.started)
                time.sleep(_SECONDS_OF_TRAINING)
                killed = time.monotonic()
                os.kill(node if options.nodes else run.workers[random.randrange(2)], signal.SIGKILL)
                recovery.append(run.trains(2) - killed)
                print(f"round {number + 1}: cold {cold[-1]:.1f} s, recovery {recovery[-1]:.1f} s", flush=True)
                run.end()
        finally:
            _end(mark)
    for name, seconds in (("cold start", cold), ("recovery", recovery)):
        print(f"{name:<10} {statistics.median(seconds):5.1f} s ({min(seconds):.1f} to {max(seconds):.1f})")
    print(f"ratio      {statistics.median(recovery) / statistics.median(cold):5.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
