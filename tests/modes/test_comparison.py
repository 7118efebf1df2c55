"""The verdict of --mode=check on records of what steps computed, made up here; test_check_mode.py makes real ones."""

import pickle

import numpy as np
import pytest

from trainer.modes.comparison import DRAWS, compare

ROWS = np.random.default_rng(0).normal(size=8)


def draws(loss, rows, noise, count=None):
    """What is recorded of the losses of rows [n], for some random numbers."""
    rng, found = np.random.default_rng(len(rows)), loss(np.asarray(rows))
    noises = (noise * rng.normal() for _ in range(DRAWS))
    count = float(count or len(rows))
    shown = [(0.0, 0.0, 0.0)] * DRAWS  # of what no example of the batch has
    return {
        "loss": [((found.sum() / count) + each, count, found[: len(rows) // 2].sum() + each) for each in noises],
        "shown": shown,
    }


def verdict(tmp_path, loss, compares=False, padded=None, noise=0.0):
    """Of losses [n] of rows [n]; `padded` computes those of rows of which the second half is padding."""
    padded = padded or (lambda rows: loss(rows[: len(rows) // 2]))
    batches = {"once": ROWS, "twice": [*ROWS, *ROWS], "beside others": ROWS, "beside itself": [*ROWS[:4], *ROWS[:4]]}
    repeated = {name: draws(loss, rows, noise) for name, rows in batches.items()}
    repeated["padded"] = draws(padded, [*ROWS, *ROWS], noise, count=8)
    steps = {0: {"losses": {"loss": 1.0}, "gradients": {"w": ROWS}, "statistics": {}, "metrics": {}}}
    told = {"repeated": repeated, "compares_examples": compares}
    for replicas, record in ((1, steps | told), (2, steps)):
        (tmp_path / f"replicas_{replicas}.pkl").write_bytes(pickle.dumps(record))
    return {found.quantity: found for found in compare(tmp_path, 2)}


def of_pairs(rows):
    """As contrastive losses do: each row against all of its batch."""
    return np.log(np.exp(rows[:, None] * rows[None]).sum(axis=1))


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_mean_over_examples_agrees(tmp_path, noise):
    found = verdict(tmp_path, lambda rows: rows**2, noise=noise)
    assert all(each.agrees and not each.explanation for each in found.values())


@pytest.mark.parametrize("noise", [0.0, 0.001])
def test_dividing_by_the_batch_size_is_a_fault_even_where_examples_are_compared(tmp_path, noise):
    found = verdict(tmp_path, lambda rows: rows**2 / len(rows), compares=True, noise=noise)
    twice = found["every example twice"]
    assert not twice.agrees and "divides by the batch size itself" in twice.explanation


def test_a_loss_that_knows_the_batch_size_in_another_way_is_a_fault(tmp_path):
    twice = verdict(tmp_path, lambda rows: rows**2 + np.log(len(rows)))["every example twice"]
    assert not twice.agrees and "mixes examples" in twice.explanation


def test_a_loss_that_compares_examples_depends_on_the_shard(tmp_path):
    twice = verdict(tmp_path, of_pairs)["every example twice"]
    assert not twice.agrees
    assert "depends on the size of a shard: fix SHARDS" in twice.explanation
    assert "compares_examples=True" in twice.explanation


def test_a_loss_that_compares_examples_on_purpose_agrees(tmp_path):
    found = verdict(tmp_path, of_pairs, compares=True)
    assert all(each.agrees for each in found.values())
    assert found["every example twice"].explanation.endswith("depends on the size of a shard: fix SHARDS")


def test_padding_that_counts_is_a_fault_even_where_examples_are_compared(tmp_path):
    found = verdict(tmp_path, of_pairs, compares=True, padded=of_pairs)
    assert (
        not found["padding"].agrees and "multiply values and counts by batch['valid']" in found["padding"].explanation
    )
