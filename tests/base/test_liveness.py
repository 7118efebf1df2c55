"""The liveness counter: whoever counts, from whichever thread, no piece of work is lost."""

import time
from concurrent.futures import ThreadPoolExecutor

from trainer.base import liveness


def test_pieces_add_up():
    before = liveness.count()
    liveness.progressed()
    liveness.progressed(5)
    assert liveness.count() == before + 6


def test_threads_do_not_lose_each_others_pieces():
    class Slow(int):
        """A number that takes long to add, so that others count meanwhile."""

        def __radd__(self, other):
            time.sleep(0.01)
            return other + int(self)

    before = liveness.count()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(liveness.progressed, [Slow(3)] * 16))
    assert liveness.count() == before + 48
