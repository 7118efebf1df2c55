"""What the tests of Ray runs share: the flags, where workers are, nodes that come and go, and what is left of a run."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from running import Run, environment, forever

RAY = ("--launcher=ray", "--strategy=multi_worker", "--gin_param=SHARDS = 2")
TWO = (*RAY, "--num_workers=2")
_MARK = "CONVOY_TEST_MARK"


def require_ray() -> None:
    """Skips a whole file where the ray extra is not installed."""
    pytest.importorskip("ray", reason="the ray extra is not installed")


class RayRun(Run):
    """A command with --launcher=ray, and all the processes that follow from it."""

    def __init__(self, run_dir: Path, *arguments: str, cwd: Path, **more: str):
        self.mark, self.run_dir = uuid.uuid4().hex, run_dir
        super().__init__(*arguments, f"--run_dir={run_dir}", cwd=cwd, **{_MARK: self.mark, "RAY_ADDRESS": "", **more})

    def workers(self) -> dict[int, int]:
        """The process of each rank, of the newest group that was shown."""
        told = (re.match(r"worker (\d) .*, process (\d+), ", line) for line in list(self.out))
        return {int(found[1]): int(found[2]) for found in told if found}

    def groups(self) -> int:
        """How many groups were shown so far."""
        # "worker 0 (host, process 7) hangs" is of none.
        return sum(bool(re.match(r"worker 0 [^(]+, process", line)) for line in list(self.out))

    def step(self) -> int:
        """The step of the newest boundary that rank 0 wrote down; -1 before the first."""
        return step_of(self.run_dir)

    def wait_for_step(self, step: int) -> None:
        """Waits until that step, or for the end."""
        for _ in forever():
            if self.step() >= step or self.process.poll() is not None:
                return

    def kill_worker(self, rank: int, number: int = signal.SIGKILL) -> None:
        os.kill(self.workers()[rank], number)

    def left(self) -> list[int]:
        """The processes that came of this command and are still there."""
        return marked(self.mark)

    def require_nothing_left(self, agents: bool = False) -> None:
        """Waits until nothing is left of the command.

        agents: nor Ray's two agents, which, when they find their raylet gone, tell a server that is gone too, and give
          up after a minute.
        """
        with contextlib.suppress(AssertionError):
            for _ in forever(120):
                if not [pid for pid in self.left() if agents or not is_agent(pid)]:
                    return
        raise AssertionError(f"left behind: {[command(pid) for pid in self.left()]}")

    def end(self) -> None:
        super().end()
        kill(self.left())


class Nodes:
    """A Ray cluster on this machine, whose nodes come and go.

    cpus: of its first node; those that are added have one each.
    """

    def __init__(self, folder: Path, cpus: int = 1, **more: str):
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        self.mark, self.address = uuid.uuid4().hex, f"127.0.0.1:{port}"
        self.environment = environment(
            RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=uuid.uuid4().hex, **{_MARK: self.mark}, **more
        )
        self.folder = folder
        self._ray("start", "--head", f"--port={port}", f"--num-cpus={cpus}", "--include-dashboard=false",
                  f"--temp-dir={folder}")  # fmt: skip

    def _ray(self, *arguments: str) -> str:
        done = subprocess.run([Path(sys.executable).with_name("ray"), *arguments], env=self.environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def access(self) -> dict[str, str]:
        """The environment of a command that is to use this cluster."""
        return {"RAY_ADDRESS": self.address, **{k: v for k, v in self.environment.items() if k.startswith("RAY_AUTH")}}

    def add(self) -> int:
        """Adds a node; returns its process."""
        before = self._raylets()
        self._ray("start", f"--address={self.address}", "--num-cpus=1")
        (new,) = self._raylets() - before
        return new

    def drain(self, raylet: int, seconds: int) -> None:
        """Tells a node to leave within so many seconds."""
        node = re.search(r"--node-id[= ](\w+)", command(raylet)) or re.search(r"--node_id=(\w+)", command(raylet))
        self._ray("drain-node", f"--address={self.address}", f"--node-id={node[1]}",
                  "--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=a test",
                  f"--deadline-remaining-seconds={seconds}")  # fmt: skip

    def _raylets(self) -> set[int]:
        return {pid for pid in marked(self.mark) if "/raylet/raylet " in command(pid)}

    def end(self) -> None:
        kill(marked(self.mark))
        shutil.rmtree(self.folder, ignore_errors=True)


def is_agent(pid: int) -> bool:
    """Whether it is one of the two agents that Ray has on each node."""
    return "agent" in command(pid).lower()


def step_of(run_dir: Path) -> int:
    """The step of the newest boundary that rank 0 wrote to its log; -1 before the first."""
    log = run_dir / "logs" / "worker_0.log"
    told = re.findall(r"^at step (\d+)$", log.read_text(errors="replace"), re.MULTILINE) if log.exists() else []
    return int(told[-1]) if told else -1


def command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def marked(mark: str) -> list[int]:
    """The processes with that mark in their environment, but for those that have ended and not been waited for."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and f"{_MARK}={mark}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return [pid for pid in found if command(pid)]


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
