"""From order and source to blocks: the same global batches whatever the shards and replicas, and from any step."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import TrainingError, UsageError
from trainer.data.global_permutation import GlobalPermutation
from trainer.data.pipeline import Input, Layout
from trainer.data.source import Field
from trainer.data.sources.arrays import Arrays


def expected(order, first, last):
    """The ids of global batches, -1 for padding."""
    places = tf.range(order.batch_size, dtype=tf.int64)
    ids, valid = order.locate(tf.range(first, last, dtype=tf.int64)[:, None], places)
    return np.where(valid, ids, -1)


def opened(order, shards=1, first=0, stop=None):
    source = Arrays({"x": np.arange(order.examples)})
    layout = Layout(order.batch_size, shards, replicas=1)
    return Input(source, order, layout, tf.distribute.get_strategy()).open(first, stop)


def taken(batches, steps):
    """The ids of the next global batches, each with its padding as -1."""
    rows = []
    for block, start, stop in batches.take(steps):
        ids = np.where(block["valid"].numpy() > 0, block["id"].numpy(), -1)
        assert (block["x"].numpy() == block["id"].numpy()).all()
        rows.append(ids[int(start) : int(stop)].reshape(int(stop) - int(start), -1))
    return np.concatenate(rows)


@pytest.mark.process
@pytest.mark.parametrize("replicas", [1, 2, 3, pytest.param(4, marks=pytest.mark.slow)])
def test_global_batches_are_the_same_on_any_number_of_replicas(on_replicas, replicas):
    found = {name: ids for name, ids in on_replicas(replicas).items() if name.startswith("batches/")}
    assert f"batches/{replicas}/7" in found and "batches/12/0" in found
    order = GlobalPermutation(50, 12, seed=3)
    for name, ids in found.items():
        first = int(name.split("/")[2])
        # Padding may stand between and after the examples, where shards or replicas do not divide.
        assert [row[row >= 0].tolist() for row in ids] == [row[row >= 0].tolist() for row in expected(order, first, 12)]


@pytest.mark.parametrize("shards, size", [(1, 12), (2, 6), (3, 4), (5, 3), (12, 1)])
def test_shards_cut_a_batch_in_order(shards, size):
    order = GlobalPermutation(50, 12, seed=3)
    block, _, _ = next(opened(order, shards).take(1))
    assert block["id"].shape[1:] == (shards, size)
    flat = np.where(block["valid"].numpy() > 0, block["id"].numpy(), -1).reshape(-1, shards * size)
    assert (flat[:5, :12] == expected(order, 0, 5)).all()
    assert (flat[:, 12:] == -1).all()


@pytest.mark.parametrize("first", [0, 1, 63, 64, 65, 130])
def test_opening_at_a_step_skips_the_steps_before(first):
    order = GlobalPermutation(1000, 8, seed=3)
    assert (taken(opened(order, first=first), 70) == expected(order, first, first + 70)).all()


def test_taking_crosses_blocks_and_goes_on_where_it_stopped():
    order, step = GlobalPermutation(1000, 8, seed=3), 5
    batches = opened(order, first=step)
    for steps in (1, 58, 1, 70, 64, 63, 3):
        assert (taken(batches, steps) == expected(order, step, step + steps)).all()
        step += steps


@pytest.mark.parametrize("first, stop", [(0, 128), (100, 130), (7, 9), (64, 64)])
def test_nothing_is_read_behind_the_last_step(first, stop):
    order = GlobalPermutation(1000, 8, seed=3)
    batches = opened(order, first=first, stop=stop)
    if stop > first:
        assert (taken(batches, stop - first) == expected(order, first, stop)).all()
    block_end = -(-stop // 64) * 64
    if block_end > stop:
        taken(batches, block_end - stop)
    with pytest.raises(RuntimeError, match="StopIteration"):
        taken(batches, 1)


def test_blocks_are_bounded_by_their_bytes():
    layout = Layout(batch_size=32, shards=1, replicas=1)
    small, large, huge = (
        layout.block_steps(Arrays({"x": np.zeros((1, size), np.float32)})) for size in (10, 50_000, 5_000_000)
    )
    assert small > large > huge == 1
    assert large * 32 * 50_000 * 4 <= 32 << 20


@pytest.mark.parametrize("name", ["valid", "id"])
def test_names_that_every_batch_has_are_refused(name):
    source = Arrays({name: np.arange(4)})
    with pytest.raises(UsageError, match=f"'{name}'.*rename the field"):
        Input(source, GlobalPermutation(4, 2), Layout(2, 1, 1), tf.distribute.get_strategy())


def test_waiting_for_data_is_noticed():
    waits = []

    class Waiting:
        def __enter__(self):
            waits.append("begin")

        def __exit__(self, *error):
            waits.append("end")

    source, order = Arrays({"x": np.arange(100)}), GlobalPermutation(100, 1)
    batches = Input(source, order, Layout(1, 1, 1), tf.distribute.get_strategy(), Waiting).open(0)
    for steps in (1, 63, 1):  # two blocks of 64
        list(batches.take(steps))
    assert waits == ["begin", "end"] * 2


# On one CPU, and at a priority at which whoever is waked goes first: before the one that told it to end has gone on.
CLOSING = """
import os, time
import numpy as np, tensorflow as tf
from trainer.data.global_permutation import GlobalPermutation
from trainer.data.pipeline import Input, Layout
from trainer.data.sources.arrays import Arrays

strategy = tf.distribute.MirroredStrategy(["CPU:0"])
opening = Input(Arrays({"x": np.zeros(64)}), GlobalPermutation(64, 1), Layout(1, 1, 1), strategy)
for _ in range(3):
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    batches = opening.open(0, 64)
    segments = list(batches.take(1))
    time.sleep(0.8)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    started = time.monotonic()
    del batches, segments
    print(time.monotonic() - started)
"""


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="needs the scheduling policies of Linux")
def test_closing_an_input_waits_for_nobody():
    cpu = min(os.sched_getaffinity(0))
    done = subprocess.run([sys.executable, "-c", CLOSING], capture_output=True, text=True, timeout=120,
                          preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert min(float(line) for line in done.stdout.split()) < 0.08, done.stdout


class Broken:
    """A thousand examples, of which number 700 cannot be read; outside of a graph only if it is `always` so."""

    def __init__(self, always):
        self.fields = {"x": Field((), "float32")}
        self._always = always

    def __len__(self):
        return 1000

    def read(self, indices):
        broken = (indices == 700) & (self._always or not tf.executing_eagerly())
        return {"x": tf.debugging.check_numerics(tf.where(broken, np.nan, 1.0), "number 700")}


@pytest.mark.parametrize("always", [True, False])
def test_an_example_that_cannot_be_read_is_told_in_one_line_when_its_step_comes(always):
    source = Broken(always)
    layout = Layout(8, shards=2, replicas=1)
    batches = Input(source, GlobalPermutation(1000, 8), layout, tf.distribute.get_strategy()).open(0)
    list(batches.take(64))
    with pytest.raises(TrainingError if always else tf.errors.InvalidArgumentError, match="number 700") as error:
        list(batches.take(64))
    if always:
        said = "the data: an example cannot be read: number 700 : Tensor had NaN values"
        assert error.value.message == said
