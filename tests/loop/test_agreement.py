"""Ranks whose actions do not agree are told so, all of them and before anybody waits for anybody."""

import threading

import numpy as np
import pytest

from trainer.actions.action import NEVER, Action, Turn
from trainer.base.errors import TrainingError
from trainer.loop.agreement import Agreement


class Together:
    """Ranks of threads: each waits for the others' rows, which have to be of one shape."""

    def __init__(self, count):
        self.count, self._rows, self._barrier = count, [None] * count, threading.Barrier(count, timeout=20)

    def at(self, rank):
        return Rank(self, rank)

    def gather(self, rank, row):
        self._rows[rank] = row
        self._barrier.wait()
        table = np.array(self._rows, float)
        self._barrier.wait()
        return table


class Rank:
    def __init__(self, together, rank):
        self.count, self.gather = together.count, lambda row: together.gather(rank, row)


class Mine(Action):
    def __init__(self, turn=Turn.ACT, due=True, ends=False, after=NEVER):
        self.turn, self._due, self._ends, self._after = turn, due, ends, after

    def next_step(self, step):
        return self._after

    def due(self, step, report):
        return self._due

    def __call__(self, report):
        return self._ends


def boundary(*actions_of_each):
    """What each rank is told at the end of a boundary of step 1,030."""
    together, told = Together(len(actions_of_each)), {}

    def run(rank, actions):
        agreement = Agreement(together.at(rank), actions)
        try:
            for index, action in enumerate(actions):
                if action.due(1030, None):
                    agreement.before(index, 1030)
                    agreement.after(index, action(None))
            agreement.at_boundary(1030, [action.next_step(1030) for action in actions])
            told[rank] = "agreed"
        except TrainingError as error:
            told[rank] = error.message

    threads = [threading.Thread(target=run, args=each) for each in enumerate(actions_of_each)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(told.values())) == 1, told
    return told[0]


def test_ranks_that_do_the_same_agree():
    assert (
        boundary(*[[Mine(), Mine(Turn.TELL, ends=True), Mine(due=False), Mine(ends=True, after=1040)]] * 3) == "agreed"
    )
    assert boundary([], []) == "agreed"


@pytest.mark.parametrize("mine", [Mine, lambda **options: Mine(turn=Turn.KEEP, **options)], ids=["act", "keep"])
@pytest.mark.parametrize("others", [[], [Mine()]], ids=["alone", "with others"])
def test_an_action_that_acts_on_some_ranks_only_is_named(mine, others):
    told = boundary([mine(), *others], [mine(due=False), *others], [mine(), *others])
    assert told.startswith(
        "the action Mine acts at step 1,030 on rank 0, 2 and not on rank 1: its due must be the same"
    )


@pytest.mark.parametrize("turn", [Turn.ACT, Turn.TELL])
@pytest.mark.parametrize("others", [[], [Mine()]], ids=["alone", "with others"])
def test_an_action_that_ends_the_run_on_some_ranks_only_is_named(turn, others):
    told = boundary([Mine(turn), *others], [Mine(turn, ends=True), *others])
    assert told.startswith("the action Mine ends the run at step 1,030 on rank 1 and not on rank 0: its answer must be")


def test_an_action_that_wants_to_act_next_at_other_steps_is_named():
    told = boundary([Mine(after=1050), Mine(after=1045)], [Mine(after=1050), Mine(after=1040)])
    assert told.startswith(
        "the action Mine wants to act at step 1,040, after step 1,030, on rank 1 and not on rank 0: its next_step must be"
    )


def test_a_rank_alone_agrees_with_itself():
    agreement = Agreement(Together(1).at(0), [Mine()])
    agreement.before(0, 5)
    agreement.at_boundary(5, [7])
