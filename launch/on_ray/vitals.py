"""What /proc tells of a process from outside: whether it is at work. Runs on its node; decides nothing.

A process that holds the interpreter's lock for long, while it reads or writes gigabytes, cannot send heartbeats. It is
at work all the same, which its processor time and its reads and writes show. Linux only, as Ray's clusters are.
"""

import contextlib
import enum
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

# A process that only waits uses about 0.02 of a core, for the threads that Ray and TensorFlow keep.
_CORES_AT_WORK = 0.2
_BYTES_AT_WORK = 1 << 20  # per second
# Less time than the first between two samples says little: processor time is counted in hundredths of a second. More
# than the second, and it is about what was.
_SECONDS_BETWEEN_SAMPLES, _OLDEST_SAMPLE = 1.0, 3.0


class Vitals(enum.Enum):
    """What a process does, as far as its node can tell; the values are for people."""

    RUNNING = "uses its processor, or reads or writes"
    READING = "waits for a disk or a network share"
    ASLEEP = "waits for something else"
    STOPPED = "is stopped"
    GONE = "has ended"


class Sample(NamedTuple):
    """A look at /proc: state as in proc(5), seconds of processor time, bytes read and written, and when, in seconds."""

    state: str
    processor: float
    bytes: int
    at: float


def sample(pid: int) -> Sample | None:
    """Looks at a process of this machine; None if there is none with that id.

    Its state is D if one of its threads waits for a disk or a share.
    """
    try:
        fields = _fields(Path(f"/proc/{pid}/stat"))
        state = "D" if fields[0] in "RS" and _waits_for_a_disk(pid) else fields[0]
        processor = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return Sample(state, processor, _bytes(pid), time.monotonic())
    except (FileNotFoundError, ProcessLookupError):
        return None


def _fields(stat: Path) -> list[str]:
    """The fields after the name, which may hold spaces and brackets; the state is the first."""
    return stat.read_text().rpartition(")")[2].split()


def _waits_for_a_disk(pid: int) -> bool:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            if _fields(thread / "stat")[0] == "D":
                return True
    return False


def _bytes(pid: int) -> int:
    try:
        counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    except (PermissionError, FileNotFoundError):  # where one may not look: processor time has to do
        return 0
    return int(counts["rchar"]) + int(counts["wchar"])


def between(before: Sample, after: Sample | None) -> Vitals:
    """What a process did between two samples of it; None: it was not there any more."""
    if after is None or after.state in "ZX":
        return Vitals.GONE
    if after.state in "Tt":
        return Vitals.STOPPED
    seconds = after.at - before.at
    cores, rate = (after.processor - before.processor) / seconds, (after.bytes - before.bytes) / seconds
    if cores > _CORES_AT_WORK or rate > _BYTES_AT_WORK:
        return Vitals.RUNNING
    return Vitals.READING if after.state == "D" else Vitals.ASLEEP


class Watch:
    """Follows processes of this machine from sample to sample."""

    def __init__(self) -> None:
        self._samples: dict[int, list[Sample]] = {}

    def look(self, pids: Sequence[int]) -> Mapping[int, Vitals]:
        """What each process did in the last second or two; one that has not been seen for so long is not listed."""
        found = {}
        for pid in pids:
            now = sample(pid)
            if now is None:
                found[pid] = Vitals.GONE
                continue
            samples = [one for one in self._samples.get(pid, []) if now.at - one.at <= _OLDEST_SAMPLE]
            self._samples[pid] = [*samples, now]
            if samples and now.at - samples[0].at >= _SECONDS_BETWEEN_SAMPLES:
                found[pid] = between(samples[0], now)
        return found
