"""What /proc tells of real processes: at work, asleep, stopped or gone."""

import os
import signal
import subprocess
import sys
import time

import pytest

from launch.on_ray.vitals import Sample, Vitals, Watch, between

# One call in C that never lets go of the interpreter's lock.
LOCKED = "import threading; threading.Thread(target=lambda: sum(range(10**12))).start()"
READS = (
    "import os; d = os.open('/dev/zero', os.O_RDONLY)\nwhile True: os.read(d, 1 << 16); __import__('time').sleep(0.01)"
)


def told(pid):
    """What a watch tells of a process once it knows enough."""
    watch, deadline = Watch(), time.monotonic() + 20
    while pid not in (found := watch.look([pid])):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found[pid]


@pytest.mark.process
@pytest.mark.parametrize(
    "program, expected",
    [(LOCKED, Vitals.RUNNING), (READS, Vitals.RUNNING), ("import time; time.sleep(100)", Vitals.ASLEEP)],
    ids=["holds the lock", "reads", "sleeps"],
)
def test_a_process_at_work_is_told_from_one_that_sleeps_is_stopped_or_gone(program, expected):
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        time.sleep(0.5)  # until it has started, which is work
        assert told(process.pid) is expected
        os.kill(process.pid, signal.SIGSTOP)
        assert told(process.pid) is Vitals.STOPPED
        process.kill()
        os.kill(process.pid, signal.SIGCONT)
        deadline = time.monotonic() + 20
        while told(process.pid) is not Vitals.GONE:  # a zombie first, which has ended, too
            assert time.monotonic() < deadline
        process.wait()
        assert told(process.pid) is Vitals.GONE
    finally:
        process.kill()
        process.wait()


def test_what_a_process_did_between_two_looks():
    before = Sample("S", 10.0, 1000, 100.0)
    for state, processor, read, expected in (
        ("S", 10.1, 1000, Vitals.ASLEEP), ("R", 10.1, 1000, Vitals.ASLEEP), ("S", 10.5, 1000, Vitals.RUNNING),
        ("D", 10.0, 1000, Vitals.READING), ("D", 10.0, 5_000_000, Vitals.RUNNING), ("S", 10.0, 5_000_000, Vitals.RUNNING),
        ("T", 11.9, 9_000_000, Vitals.STOPPED), ("t", 10.0, 1000, Vitals.STOPPED), ("Z", 10.0, 1000, Vitals.GONE),
    ):  # fmt: skip
        assert between(before, Sample(state, processor, read, 102.0)) is expected, (state, processor, read)
    assert between(before, None) is Vitals.GONE


def test_what_was_long_ago_is_not_taken_for_what_is(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("launch.on_ray.vitals.sample", lambda pid: Sample("S", min(now[0], 1.5), 0, now[0]))
    watch, found = Watch(), []
    for now[0] in (0.0, 0.5, 1.0, 1.5, 100.0, 100.5, 101.5):
        found.append(watch.look([7]).get(7))
    assert found == [None, None, Vitals.RUNNING, Vitals.RUNNING, None, None, Vitals.ASLEEP]
