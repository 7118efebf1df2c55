"""How these tests start Convoy: as a shell does (Run), or quicker, from a process that waits (Preloaded)."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
# Generous, since others may use the machine too; nothing waits so long unless it fails.
PATIENCE = 180.0


def environment(**more) -> dict[str, str]:
    """A user's environment: nothing but the checkout on the path."""
    return os.environ | {"PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "3"} | more


def forever(seconds: float = PATIENCE):
    """Yields every millisecond; fails once the deadline has passed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.001)
    raise AssertionError(f"waited for {seconds} s in vain")


class Run:
    """`python -m trainer.main` with some arguments, in a session of its own."""

    def __init__(self, *arguments: str, cwd: Path, **more: str):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trainer.main", *arguments], cwd=cwd, env=environment(**more), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.pid = self.process.pid
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join([*self.out, *self.err])

    def find(self, pattern: str, occurrence: int = 1) -> re.Match | None:
        """The first line of standard output so far that has the pattern in it, or a later one of those."""
        found = (match for line in list(self.out) if (match := re.search(pattern, line)))
        return next(itertools.islice(found, occurrence - 1, None), None)

    def step(self) -> int:
        """The step of the newest boundary that user_code's Trace told of; -1 before the first."""
        told = [line.split()[-1] for line in list(self.out) if line.startswith("at step")]
        return max(map(int, told), default=-1)

    def wait_for(self, pattern: str, occurrence: int = 1) -> re.Match | None:
        """Waits for such a line; None if the process has ended without it."""
        for _ in forever():
            if self.process.poll() is not None:
                self.wait()
                break
            if self.find(pattern, occurrence):
                break
        return self.find(pattern, occurrence)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process.poll() is None:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Waits for the end; returns the exit code, negative for a signal's number."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def end(self) -> None:
        """Whatever happened: nothing of it is left."""
        self.kill()
        self.wait()


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Preloaded:
    """Runs commands one at a time, each in a process of its own that has TensorFlow imported already."""

    def __init__(self, folder: Path, **more: str):
        self._out, self._err = folder / "stdout", folder / "stderr"
        self._server = subprocess.Popen(
            [sys.executable, __file__], env=environment(**more), text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, *arguments: str, cwd: Path, user: int | None = None, **more: str) -> Result:
        """`python -m trainer.main` with the arguments, to its end. user: whose process it is, by id."""
        order = {"arguments": arguments, "cwd": str(cwd), "user": user, "environment": more,
                 "out": str(self._out), "err": str(self._err)}  # fmt: skip
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        pid = int(self._server.stdout.readline())
        late = threading.Timer(PATIENCE, os.kill, (pid, signal.SIGKILL))
        late.start()
        try:
            code = int(self._server.stdout.readline())
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            late.cancel()
        return Result(code, self._out.read_text(), self._err.read_text())

    def end(self) -> None:
        self._server.kill()
        self._server.wait(PATIENCE)


def _serve() -> None:
    import tensorflow  # noqa: F401  (and what else takes seconds)

    import trainer.experiment  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(order)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(order) -> None:
    """Makes this process what a shell would have started."""
    import runpy

    os.setsid()
    for descriptor, path in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(order["cwd"])
    os.environ.update(order["environment"])
    if order["user"] is not None:
        os.setgid(order["user"])
        os.setuid(order["user"])
    sys.path[0] = order["cwd"]
    sys.argv = ["trainer.main", *order["arguments"]]
    try:
        runpy.run_module("trainer.main", run_name="__main__", alter_sys=True)
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(99)  # main ends the process itself


if __name__ == "__main__":
    _serve()
