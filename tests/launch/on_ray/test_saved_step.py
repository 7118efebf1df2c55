"""The driver knows how far the run has come, and never waits long to be told."""

import threading
import time

from launch.on_ray.saved_step import SavedStep
from trainer.base.errors import UsageError


def test_what_is_true_now_is_waited_for_and_else_what_was_true_lately(monkeypatch):
    monkeypatch.setattr("launch.on_ray.saved_step._SECONDS_BETWEEN_READS", 0.1)
    steps = iter(range(1, 100))
    saved = SavedStep(lambda: next(steps))
    assert saved.look(now=True) == 1 and saved.look(now=True) == 2
    deadline = time.monotonic() + 30
    while saved.look(now=False) < 5:
        assert time.monotonic() < deadline


def test_a_directory_that_does_not_answer_holds_nobody_up(monkeypatch):
    monkeypatch.setattr("launch.on_ray.saved_step._SECONDS_FOR_AN_ANSWER", 0.2)
    answers, goes_on = iter([7, 8, 9]), threading.Event()
    saved = SavedStep(lambda: goes_on.wait() and next(answers))
    begun = time.monotonic()
    assert [saved.look(now) for now in (True, False, True)] == [-1] * 3 and time.monotonic() - begun < 30
    goes_on.set()
    saved.look(now=True)
    assert saved.look(now=True) >= 8


def test_one_that_cannot_be_read_changes_nothing(capsys):
    answers = iter([3, UsageError("damaged"), OSError("gone"), 4])

    def read():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    saved = SavedStep(read)
    assert [saved.look(now=True) for _ in range(4)] == [3, 3, 3, 4]
    assert "could not be read: damaged" in capsys.readouterr().out
