"""What is read of a process from outside, and what of that a person is shown first."""

import os
import signal
import subprocess
import sys

import pytest

from launch.on_ray import stacks

STACKS = """Process 8618: ray::RayTrainWorker
Python v3.11.7 (/usr/bin/python3.11)

Thread 8618 (active): "MainThread"
    Worker.main_loop (ray/_private/worker.py:1069)
    <module> (ray/_private/workers/default_worker.py:323)
Thread 9023 (idle): "signals"
    _read (launch/on_ray/worker_signals.py:37)
    Thread.run (threading.py:982)
Thread 9050 (idle): "TrainingThread"
    quick_execute (tensorflow/python/eager/execute.py:53)
    train (trainer/step/device_loop.py:100)
    train (launch/on_ray/worker.py:130)
    Thread.run (threading.py:982)
"""


def test_threads_of_the_machinery_are_left_out():
    found = stacks.relevant(STACKS)
    assert found.startswith('Thread 9050 (idle): "TrainingThread"') and "trainer/step/device_loop.py" in found
    assert "main_loop" not in found and "signals" not in found


def test_what_has_no_threads_is_shown_whole():
    assert stacks.relevant("(no stack: py-spy is missing)") == "(no stack: py-spy is missing)"


@pytest.mark.process
def test_a_stopped_process_is_read_and_ended():
    pytest.importorskip("ray", reason="the ray extra, and py-spy with it, is not installed")
    code = "def stuck():\n    print(flush=True)\n    while True: pass\nstuck()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        os.kill(process.pid, signal.SIGSTOP)
        assert "stuck (" in stacks.dump_and_kill(process.pid)
        assert process.wait(10) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()


@pytest.mark.process
def test_a_process_that_has_ended_is_no_error():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert "had ended by itself" in stacks.dump_and_kill(process.pid)
