"""What status board and decisions hold does not grow with the heartbeats, however long a run is."""

from benchmarks import many_workers


def test_a_run_that_is_twice_as_long_needs_no_more_memory():
    _, (few, before), (many, after) = many_workers.simulated(workers=16, seconds=800)
    assert many == 2 * few
    assert after < 1.05 * before, "something keeps what it was told"
