"""Metrics that users write: what they may keep, whether padding reaches them, and what is refused before a run."""

import os
from pathlib import Path

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.base.errors import UsageError
from trainer.step.trial import try_step
from trainer.tasks.supervised import Supervised

TESTS = Path(__file__).parent
SEARCH = os.pathsep.join(map(str, [TESTS.parent.parent, TESTS.parent, TESTS]))
N, SGD = 10, keras.optimizers.SGD
DATA = {"x": np.linspace(0, 1, 3 * N).reshape(N, 3).astype(np.float32), "y": np.arange(N) % 4}


class Counted(keras.metrics.Metric):
    """Counts examples; its result is its variable, as in Keras's guide. What is counted is said in a subclass."""

    def __init__(self, name="counted"):
        super().__init__(name=name)
        self.count = self.add_weight(name="count", initializer="zeros")

    def result(self):
        return self.count


class Rows(Counted):
    """Without a look at the weights."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(tf.cast(tf.shape(y_true)[0], tf.float32))


class Weighted(Counted):
    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(tf.reduce_sum(sample_weight))


class Largest(Counted):
    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign(tf.maximum(self.count, tf.reduce_max(tf.cast(y_true, tf.float32) * sample_weight)))


class Asking(Weighted):
    """Has a result that only Python can compute."""

    def result(self):
        return 1.0 if self.count > 0 else 0.0


def tried(new_step, metric, **options):
    task = examples.classifier(lambda: keras.Sequential([layers.Dense(4)]), metrics=[metric])
    loop, source = new_step(task, DATA, **options)
    try_step(loop.train_step, source.source)
    loop.train(source.open(0).take(source.order.steps_per_epoch))
    return loop


@pytest.mark.parametrize("metric, dropped", [(Rows, True), (Weighted, False)])
@pytest.mark.parametrize("batch_size, shards", [(4, 1), (12, 3)])
def test_padding_counts_in_no_metric(new_step, metric, dropped, batch_size, shards):
    loop = tried(new_step, metric, batch_size=batch_size, shards=shards)
    assert loop.read().metrics["counted"] == N and loop.train_step.drops_padding is dropped


def test_where_there_is_no_padding_none_is_dropped(new_step):
    assert not tried(new_step, Rows, batch_size=5, xla=True).train_step.drops_padding
    with pytest.raises(UsageError, match="Arithmetic.xla = True: the metric 'counted' counts examples without weight"):
        tried(new_step, Rows, batch_size=4, xla=True)


def test_what_kerass_fit_cannot_compute_is_refused(new_step):
    """R2Score asks in Python how many examples there were."""
    metric = lambda: keras.metrics.R2Score(num_regressors=1, name="r2")
    task = Supervised(lambda: keras.Sequential([layers.Dense(3)]), keras.losses.MeanSquaredError, SGD, [metric], y="x")
    loop, source = new_step(task, DATA)
    with pytest.raises(UsageError, match="the metric 'r2' cannot compute its result in a graph: "):
        try_step(loop.train_step, source.source)


def test_a_result_that_a_graph_cannot_compute_is_refused(new_step):
    with pytest.raises(UsageError, match="the metric 'counted' cannot compute its result in a graph: "):
        tried(new_step, Asking)


def test_what_is_no_sum_is_kept_on_one_device(new_step):
    assert tried(new_step, Largest, batch_size=4).read().metrics["counted"] == 3


TWO_DEVICES = """
import examples, test_own_metrics as own
from trainer.base.errors import UsageError
from trainer.distributed import strategies
strategy = strategies.mirrored(2)
new_step = lambda *of, **options: examples.new_step(strategy, *of, **options)
assert own.tried(new_step, own.Weighted, batch_size=4, shards=2).read().metrics["counted"] == own.N
try:
    own.tried(new_step, own.Largest, shards=2)
except UsageError as error:
    print(error.message)
"""


@pytest.mark.process
def test_on_two_devices_sums_are_added_up_and_nothing_else(run_program):
    assert "the metric 'counted' keeps something else than sums" in run_program("-c", TWO_DEVICES, PYTHONPATH=SEARCH)


def test_a_metric_of_another_shape_is_named(new_step):
    metric = lambda: keras.metrics.CosineSimilarity(name="cosine", axis=5)
    with pytest.raises(
        UsageError, match=r"the metric 'cosine' cannot compare an example's target \[\] and output \[4\]"
    ):
        tried(new_step, metric)
