"""A child is run to its end, says why it failed, and is stopped with a chance to save, or without."""

import os
import threading
import time

import pytest

from launch import child
from launch.origin import Origin
from trainer.base.errors import TrainingError, UsageError
from trainer.lifecycle.stop_requests import StopReason, StopRequests

pytestmark = pytest.mark.process

# Tells that it is there, and ends when it is told to, as a run that saves.
PATIENT = """
import pathlib, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
pathlib.Path("here").touch()
number = signal.sigwait([signal.SIGTERM, signal.SIGINT])
pathlib.Path("told").write_text(str(int(number)))
sys.exit({status})
"""


def run(code, folder, requests=None, **more):
    origin = Origin(str(folder), (str(folder),))
    return child.run(["-c", code], requests or StopRequests(), origin, **{"saves": True, **more})


def stopped(code, folder, reason, **more):
    """Runs the code, asks for a stop once it is there, and returns what `run` does."""
    requests = StopRequests()

    def ask():
        while not (folder / "here").exists():
            time.sleep(0.01)
        requests.ask(reason)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    return run(code, folder, requests, **more)


def test_it_comes_to_its_end(tmp_path):
    assert run("open('here', 'w')", tmp_path) and (tmp_path / "here").exists()


def test_it_finds_modules_and_files_where_the_command_would(tmp_path):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "mine.py").write_text("x = 1")
    code = "import mine, os; open(os.environ['NAME'], 'w')"
    origin = Origin(str(tmp_path), (str(tmp_path / "modules"),))
    assert child.run(["-c", code], StopRequests(), origin, saves=True, environment={"NAME": "here"})
    assert (tmp_path / "here").exists()


@pytest.mark.parametrize(
    "status, error, prints, says",
    [
        (2, UsageError, "error: no such rows", "no such rows"),
        (1, TrainingError, "error: it is lost", "it is lost"),
        (1, TrainingError, "Traceback\\nerror: of its own", "Traceback\nerror: of its own"),
        (3, TrainingError, "", "ended with 3"),
    ],
)
def test_it_says_how_it_failed(tmp_path, status, error, prints, says):
    with pytest.raises(error) as raised:
        run(f"import sys; print('{prints}', file=sys.stderr); sys.exit({status})", tmp_path)
    assert raised.value.message == says


@pytest.mark.parametrize("reason", [StopReason.TERMINATED, StopReason.INTERRUPTED])
def test_a_stop_request_reaches_one_that_saves_as_its_signal(tmp_path, reason):
    assert not stopped(PATIENT.format(status=int(reason)), tmp_path, reason)
    assert (tmp_path / "told").read_text() == str(reason - 128)


def test_one_that_had_come_to_its_end_was_not_stopped(tmp_path):
    assert stopped(PATIENT.format(status=0), tmp_path, StopReason.TERMINATED)


def test_one_that_fails_while_it_saves_says_so(tmp_path):
    with pytest.raises(TrainingError, match="ended with 1"):
        stopped(PATIENT.format(status=1), tmp_path, StopReason.TERMINATED)


def test_one_that_has_nothing_to_save_is_killed(tmp_path):
    assert not stopped(PATIENT.format(status=0), tmp_path, StopReason.TERMINATED, saves=False)
    assert not (tmp_path / "told").exists()


def test_after_a_stop_request_none_is_started(tmp_path):
    requests = StopRequests()
    requests.ask(StopReason.TERMINATED)
    assert not run("open('here', 'w')", tmp_path, requests) and not (tmp_path / "here").exists()


def test_it_shows_its_output_only_if_that_is_wanted(tmp_path, capfd):
    assert run("print(1)", tmp_path) and run("print(2)", tmp_path, shown=True)
    assert capfd.readouterr().out == "2\n"


def test_it_is_in_a_session_of_its_own_so_that_a_terminal_does_not_interrupt_it_too(tmp_path, capfd):
    assert run("import os; print(os.getsid(0))", tmp_path, shown=True)
    assert int(capfd.readouterr().out) != os.getsid(0)
