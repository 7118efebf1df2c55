"""Evaluation and prediction: exact over every example of a split, on any number of devices."""

import itertools

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.data.pipeline import Layout
from trainer.data.sources.arrays import Arrays
from trainer.distributed.collective_wait import CollectiveWait
from trainer.step.averaging import NoAverage
from trainer.step.evaluation import Evaluator
from trainer.tasks.keras_loss import Contrastive
from trainer.tasks.protocol import Loss
from trainer.tasks.supervised import Supervised


def expected(logits, labels):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    probabilities = (exponents / exponents.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels]
    return {"loss": -np.log(probabilities).mean(), "accuracy": (logits.argmax(axis=1) == labels).mean()}


@pytest.mark.process
@pytest.mark.parametrize("replicas", [1, 2])
def test_every_example_counts_once(on_replicas, digits, replicas):
    """1,003 examples at 32 per batch, and 3, on one and two devices, against numpy."""
    found = {name.removeprefix("evaluation/"): value for name, value in on_replicas(replicas).items()}
    logits = found["outputs"]
    for split, size in (("test", 1003), ("small", 3), ("again", 1003)):
        for name, value in expected(logits[:size], digits[1][:size]).items():
            assert found[f"{split}/{name}"] == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(found["predicted"], logits, rtol=1e-4, atol=1e-6)


def evaluator_of(loop, data, batch_size):
    """An evaluator of what a loop trains, on a split called test."""
    state, wait = loop.state, loop.train_step.collective_wait
    sources = {"test": Arrays(data)}
    return Evaluator(tf.distribute.get_strategy(), state.task, state.average, sources, Layout(batch_size, 1, 1), wait)


@pytest.fixture
def evaluator(new_step, digits):
    """An evaluator of 100 digits whose averages are other than the weights, and its step."""
    data = {"x": digits[0][:100], "y": digits[1][:100]}
    loop, source = new_step(examples.classifier(), data, average_decay=0.9)
    loop.train(source.open(0).take(20))  # for 16 steps the average is the weights
    return evaluator_of(loop, data, batch_size=32), loop, data


def test_the_average_stands_in_for_the_weights(evaluator, converted):
    evaluator, loop, data = evaluator
    weights = examples.weights(loop)
    logits = loop.state.task.model(data["x"]).numpy()
    converted.to_tensors.clear()
    with loop.state.average.in_place():
        averaged = loop.state.task.model(data["x"]).numpy()
    assert (logits != averaged).any()
    assert len(converted.to_tensors) == 2 * len(weights)  # there and back
    assert evaluator.evaluate("test") == pytest.approx(expected(averaged, data["y"]), rel=1e-5)
    source = Arrays(data)
    np.testing.assert_allclose(evaluator.predict(source)["output"], averaged, rtol=1e-4, atol=1e-6)
    assert all((value == weights[name]).all() for name, value in examples.weights(loop).items())


def test_a_stop_on_the_way_leaves_nothing_behind(evaluator):
    evaluator, loop, _ = evaluator
    before, weights = evaluator.evaluate("test"), examples.weights(loop)
    assert evaluator.evaluate("test", should_stop=lambda: True) is None
    assert all((value == weights[name]).all() for name, value in examples.weights(loop).items())
    assert evaluator.evaluate("test") == before


def test_training_metrics_are_left_alone(evaluator):
    evaluator, loop, _ = evaluator
    before = loop.read().metrics
    evaluator.evaluate("test")
    assert loop.read().metrics == before


class TwoOutputs:
    """Puts out a dict; its loss has a part that is no example's."""

    def metrics(self):
        return {}

    def update(self, metrics, batch, outputs):
        pass

    def outputs(self, batch):
        return {"double": 2 * batch["x"], "sum": tf.reduce_sum(batch["x"], axis=1)}

    def evaluate(self, batch, outputs):
        return {"mean": Loss(outputs["sum"] * batch["valid"], batch["valid"], shared=100.0)}


def test_a_task_may_put_out_several_things():
    x = np.arange(14, dtype=np.float32).reshape(7, 2)
    evaluator = Evaluator(
        tf.distribute.get_strategy(),
        TwoOutputs(),
        NoAverage(),
        {"test": Arrays({"x": x})},
        Layout(4, 1, 1),
        CollectiveWait(1),
    )
    predicted = evaluator.predict(Arrays({"x": x}))
    assert predicted.keys() == {"double", "sum"}
    assert (predicted["double"] == 2 * x).all() and (predicted["sum"] == x.sum(axis=1)).all()
    assert evaluator.evaluate("test") == {"mean": pytest.approx(x.sum(axis=1).mean() + 100)}


class Shortened(TwoOutputs):
    """As under mixed precision: outputs in 16 bits, judged by a metric that counts examples by itself."""

    def outputs(self, batch):
        return {name: tf.cast(value, tf.bfloat16) for name, value in super().outputs(batch).items()}

    def evaluate(self, batch, outputs):
        return {}

    def metrics(self):
        return {"r2": keras.metrics.R2Score(num_regressors=2)}

    def update(self, metrics, batch, outputs):
        metrics["r2"].update_state(batch["x"][:, :1], outputs["double"][:, :1], sample_weight=batch["valid"])


@pytest.mark.parametrize("size", [4, 7])
def test_a_metric_that_is_no_mean_sees_no_padding(size):
    x = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    source = Arrays({"x": x})
    evaluator = Evaluator(
        tf.distribute.get_strategy(), Shortened(), NoAverage(), {"test": source}, Layout(size, 1, 1), CollectiveWait(1)
    )
    predicted, expected = evaluator.predict(source)["double"], keras.metrics.R2Score(num_regressors=2)
    assert predicted.dtype == np.float32 and predicted == pytest.approx(2 * x, rel=1e-2)
    expected.update_state(x[:, :1], predicted[:, :1])
    assert evaluator.evaluate("test")["r2"] == pytest.approx(float(expected.result()), rel=1e-5)


def test_the_graph_shows_the_model(evaluator):
    evaluator, _, data = evaluator
    names = [operation.name for operation in evaluator.graph(Arrays(data).fields).get_operations()]
    assert "x" in names and any("dense" in name for name in names)


def test_a_stop_need_not_wait_for_a_block_of_batches(new_step, digits):
    """Evaluation is done in calls of a second at most, the first of them a single batch."""
    seen = []

    class Counting(Supervised):
        def evaluate(self, batch, outputs):
            count = tf.py_function(lambda valid: seen.append(len(valid)) or 0.0, [batch["valid"]], tf.float32)
            loss = super().evaluate(batch, outputs)["loss"]
            return {"loss": loss._replace(values=loss.values + count)}

    data = {"x": digits[0][:96], "y": digits[1][:96]}
    loop, _ = new_step(Counting(examples.dense_net, examples.CROSSENTROPY, keras.optimizers.SGD), data)
    evaluator = evaluator_of(loop, data, batch_size=4)
    asked = iter([False, True])
    assert evaluator.evaluate("test", should_stop=lambda: next(asked)) is None
    assert seen == [4]
    assert evaluator.names("test") == ["loss"]


def test_a_loss_of_which_nothing_counts_is_no_number(new_step, digits):
    data = {"x": digits[0][:8], "y": digits[1][:8]}

    class Nothing(Supervised):
        def evaluate(self, batch, outputs):
            loss = super().evaluate(batch, outputs)["loss"]
            return {"loss": loss._replace(values=0.0 * loss.values, counts=0.0 * loss.counts)}

    loop, _ = new_step(Nothing(examples.dense_net, examples.CROSSENTROPY, keras.optimizers.SGD), data)
    evaluator = evaluator_of(loop, data, batch_size=4)
    assert np.isnan(evaluator.evaluate("test")["loss"])


@pytest.mark.parametrize("size", [8, 3])
def test_a_contrastive_loss_compares_within_the_shards_of_training(new_step, digits, size):
    """On any number of devices, so the shards are the run's; padding is compared with nothing."""
    near = lambda y_true, y_pred: keras.ops.logsumexp(keras.ops.matmul(y_pred, keras.ops.transpose(y_pred)), axis=1)
    task = examples.classifier(loss=Contrastive(near), metrics=[])
    data = {"x": digits[0][:7], "y": digits[1][:7]}
    loop, _ = new_step(task, data, batch_size=size, shards=2)
    assert loop.state.parts.compares_examples
    outputs = task.model(data["x"], training=False).numpy()
    ends = [0, 4, 7] if size == 8 else [0, 2, 3, 5, 6, 7]
    expected = np.concatenate([near(None, outputs[first:last]) for first, last in itertools.pairwise(ends)]).mean()
    evaluator = Evaluator(
        tf.distribute.get_strategy(), task, NoAverage(), {"test": Arrays(data)}, Layout(size, 2, 1), CollectiveWait(1)
    )
    assert evaluator.evaluate("test")["loss"] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(evaluator.predict(Arrays(data))["output"], outputs, rtol=1e-5)
