"""The global order: a permutation per epoch, padded at its end, computed from the index alone; and the digest's hash."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.data.digest import from_pieces, mix, to_pieces
from trainer.data.global_permutation import GlobalPermutation


def located(order, steps, places=None):
    """(ids, valid) [steps, places]"""
    places = np.arange(order.batch_size if places is None else places)
    ids, valid = order.locate(tf.constant(list(steps), tf.int64)[:, None], tf.constant(places, tf.int64))
    return ids.numpy(), valid.numpy()


def epoch(order, number):
    """The valid ids of an epoch, in order."""
    ids, valid = located(order, range(number * order.steps_per_epoch, (number + 1) * order.steps_per_epoch))
    return ids[valid]


@pytest.mark.parametrize("examples", [1, 2, 7, 31, 32, 33, 100, 1000])
@pytest.mark.parametrize("batch_size", [1, 5, 32, 300])
def test_every_epoch_holds_every_example_once(examples, batch_size):
    order = GlobalPermutation(examples, batch_size, seed=3)
    for number in range(3):
        assert sorted(epoch(order, number)) == list(range(examples))


def test_every_epoch_has_an_order_of_its_own():
    order = GlobalPermutation(1000, 32, seed=3)
    orders = [epoch(order, number) for number in range(4)] + [epoch(GlobalPermutation(1000, 32, seed=4), 0)]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert (one == other).mean() < 0.02  # two random orders agree at one position on average


def test_the_order_is_the_seeds_alone():
    assert (epoch(GlobalPermutation(1000, 32, seed=3), 5) == epoch(GlobalPermutation(1000, 50, seed=3), 5)).all()


def test_without_a_seed_examples_come_as_stored():
    order = GlobalPermutation(10, 4)
    assert epoch(order, 0).tolist() == epoch(order, 7).tolist() == list(range(10))


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("examples, batch_size", [(10, 4), (3, 8), (1, 5)])
def test_padding_is_real_examples_that_do_not_count(examples, batch_size, seed):
    order = GlobalPermutation(examples, batch_size, seed)
    last = order.steps_per_epoch - 1
    ids, valid = located(order, [last], places=batch_size + 3)
    real = examples - last * batch_size
    assert valid[0].tolist() == [True] * real + [False] * (batch_size + 3 - real)
    assert ((ids >= 0) & (ids < examples)).all()


def test_a_place_beyond_the_batch_is_padding():
    _, valid = located(GlobalPermutation(100, 8, seed=3), [0], places=10)
    assert valid[0].tolist() == [True] * 8 + [False] * 2


def test_seeking_equals_reading_through():
    order = GlobalPermutation(1000, 32, seed=3)
    through, _ = located(order, range(100))
    for step in (0, 31, 32, 77):
        assert (located(order, [step])[0][0] == through[step]).all()


def test_examples_before_a_step_are_the_valid_ones():
    order = GlobalPermutation(100, 32, seed=3)
    _, valid = located(order, range(12))
    assert [order.examples_before(step) for step in range(12)] == [valid[:step].sum() for step in range(12)]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_shuffle_looks_random(seed):
    examples, batch_size = 60_000, 32
    order = GlobalPermutation(examples, batch_size, seed)
    for number in range(2):
        ids = epoch(order, number).astype(float)
        # A random permutation's lag-1 correlation has a standard deviation of 1 / sqrt(N).
        assert abs(np.corrcoef(ids[:-1], ids[1:])[0, 1]) < 5 / np.sqrt(examples)
        # Of files that are sorted by class, a batch should hold each class as often as chance has it.
        classes = (ids // (examples // 10)).reshape(-1, batch_size)
        counts = (classes[:, :, None] == np.arange(10)).sum(axis=1)
        assert abs(counts.var() / (batch_size * 0.1 * 0.9) - 1) < 0.05


def splitmix(x):
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def test_mix_is_two_rounds_of_splitmix():
    ids, positions = np.random.default_rng(0).integers(0, 2**62, (2, 500))
    expected = [splitmix((splitmix(int(p)) + int(i)) % 2**64) for i, p in zip(ids, positions, strict=True)]
    assert [int(h) % 2**64 for h in mix(tf.constant(ids), tf.constant(positions)).numpy()] == expected


@pytest.mark.parametrize("replicas", [1, 2, 3, 256, 257, 1000])
def test_pieces_add_up_to_the_digest(replicas):
    digests = np.random.default_rng(0).integers(-(2**63), 2**63, replicas)
    digests[: replicas // 2] = -1  # the largest pieces
    assert all(from_pieces(to_pieces(tf.constant(d), replicas), replicas).numpy() == d for d in digests[-20:])
    # In float32, as the all-reduce adds them, in any order.
    summed = np.sum([to_pieces(tf.constant(d), replicas).numpy() for d in digests], axis=0, dtype=np.float32)
    assert from_pieces(tf.constant(summed), replicas).numpy() == digests.sum()
