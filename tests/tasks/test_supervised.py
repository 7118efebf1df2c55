"""The task with no code: which losses and weights count for what, and data and models that do not fit each other."""

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.base.errors import UsageError
from trainer.data.pipeline import Layout
from trainer.data.source import Field
from trainer.data.sources.arrays import Arrays
from trainer.distributed.collective_wait import CollectiveWait
from trainer.step.averaging import NoAverage
from trainer.step.evaluation import Evaluator
from trainer.step.trial import try_step
from trainer.tasks.supervised import Supervised

SGD = lambda: keras.optimizers.SGD(0.1)


def first_loss(loop, source):
    """(sum, count) of the first step, in examples."""
    loop.train(source.open(0).take(1))
    total, count = loop.read().losses["loss"]
    return total * source.order.batch_size, count * source.order.batch_size


def vectors(n=10):
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(n, 3)).astype(np.float32), "y": np.arange(n) % 4}


def dense(outputs=4):
    return keras.Sequential([layers.Dense(outputs)])


def errors(task, data):
    """The loss of each example, by the task's own model."""
    logits = task.model(data["x"])
    return keras.losses.sparse_categorical_crossentropy(data["y"], logits, from_logits=True).numpy()


def test_weights_scale_losses_and_not_the_divisor(new_step):
    data = vectors() | {"w": np.linspace(0, 3, 10)}
    task = examples.classifier(dense, weight="w")
    loop, source = new_step(task, data, batch_size=16, shards=4)
    expected = (errors(task, data) * data["w"]).sum()
    assert first_loss(loop, source) == pytest.approx((expected, 10), rel=1e-5)


def test_classes_without_a_weight_weigh_one(new_step):
    data = vectors()
    task = examples.classifier(dense, class_weight={1: 5.0, 3: 0.0})
    loop, source = new_step(task, data, batch_size=16, shards=4)
    expected = (errors(task, data) * np.array([1, 5, 1, 0])[data["y"]]).sum()
    assert first_loss(loop, source) == pytest.approx((expected, 10), rel=1e-5)


def by_function(y, logits):
    return keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)


@pytest.mark.parametrize("options", [{}, {"loss": by_function}])  # Keras's classes look at masks, functions do not
def test_tokens_count_where_a_mask_lets_them(new_step, options):
    """Sequences of words, 0 for none: the loss is a mean over words, however they are spread over shards."""
    rng = np.random.default_rng(0)
    lengths = np.array([1, 2, 3, 4, 5, 6, 6, 1, 2, 3])
    words = rng.integers(1, 9, (10, 6)) * (np.arange(6) < lengths[:, None])
    data = {"x": words, "y": rng.integers(0, 4, (10, 6))}
    net = lambda: keras.Sequential([layers.Embedding(9, 5, mask_zero=True), layers.Dense(4)])
    task = examples.classifier(net, **options)
    loop, source = new_step(task, data, batch_size=16, shards=4)
    counted = words > 0
    expected = (errors(task, data) * counted).sum()
    right = ((task.model(words).numpy().argmax(-1) == data["y"]) & counted).sum()
    evaluator = Evaluator(
        tf.distribute.get_strategy(), task, NoAverage(), {"test": Arrays(data)}, Layout(4, 1, 1), CollectiveWait(1)
    )
    found = evaluator.evaluate("test")
    assert found["loss"] == pytest.approx(expected / counted.sum(), rel=1e-5)
    assert found["accuracy"] == pytest.approx(right / counted.sum(), rel=1e-5)
    assert first_loss(loop, source) == pytest.approx((expected, counted.sum()), rel=1e-5)
    assert loop.read().metrics["accuracy"] == pytest.approx(right / counted.sum(), rel=1e-5)


def test_without_a_mask_every_token_counts(new_step):
    data = {"x": np.ones((10, 6, 3), np.float32), "y": np.zeros((10, 6), np.int64)}
    loop, source = new_step(examples.classifier(dense), data, batch_size=16, shards=4)
    assert first_loss(loop, source)[1] == 60


def test_targets_without_a_last_dimension_are_not_broadcast(new_step):
    """[n] against [n, 1] would be [n, n] to Keras."""
    data = {"x": vectors()["x"], "y": np.linspace(0, 9, 10).astype(np.float32)}
    mae = keras.metrics.MeanAbsoluteError
    task = Supervised(lambda: dense(1), keras.losses.MeanSquaredError, SGD, [lambda: mae(name="mae")])
    loop, source = new_step(task, data, batch_size=16, shards=4)
    differences = task.model(data["x"]).numpy()[:, 0] - data["y"]
    assert first_loss(loop, source) == pytest.approx(((differences**2).sum(), 10), rel=1e-5)
    assert loop.read().metrics["mae"] == pytest.approx(np.abs(differences).mean(), rel=1e-5)


def test_the_target_may_be_the_input(new_step):
    data = {"x": vectors()["x"]}
    task = Supervised(lambda: dense(3), keras.losses.mean_squared_error, SGD, y="x")
    loop, source = new_step(task, data, batch_size=10)
    expected = ((task.model(data["x"]).numpy() - data["x"]) ** 2).mean(axis=1).sum()
    assert first_loss(loop, source) == pytest.approx((expected, 10), rel=1e-5)


def test_several_fields_are_fed_as_a_dict(new_step):
    def net():
        inputs = {name: keras.Input((3,), name=name) for name in ("left", "right")}
        return keras.Model(inputs, layers.Dense(4)(layers.Concatenate()([inputs["left"], inputs["right"]])))

    x, y = vectors().values()
    task = examples.classifier(net, x=["left", "right"])
    loop, source = new_step(task, {"left": x, "right": -x, "y": y}, batch_size=10)
    expected = errors(task, {"x": {"left": x, "right": -x}, "y": y}).sum()
    assert first_loss(loop, source) == pytest.approx((expected, 10), rel=1e-5)


def two_outputs():
    x = keras.Input((3,))
    return keras.Model(x, [layers.Dense(4)(x), layers.Dense(4)(x)])


@pytest.mark.parametrize(
    "task, y, message",
    [
        (examples.classifier(dense, x="image"), np.arange(4), "field 'image'; the data has: x, y"),
        (examples.classifier(dense, y="label"), np.arange(4), "field 'label'; the data has: x, y"),
        (examples.classifier(dense, weight="w"), np.arange(4), "field 'w'; the data has: x, y"),
        (examples.classifier(two_outputs), np.arange(4), "one output tensor"),
        (examples.classifier(dense), np.arange(5), "labels 'y' run from 0 to 4, but the model has 4 outputs .0 to 3."),
        (examples.classifier(dense), np.arange(4) - 1, "labels 'y' run from -1 to 2"),
        (examples.classifier(dense), np.zeros((4, 2), np.int64), "target 'y' has shape .2. per example"),
        (Supervised(dense, keras.losses.MeanSquaredError, SGD), np.zeros((4, 3)), r"shape \[3\].*output \[4\]"),
    ],
)
def test_what_does_not_fit_is_refused(new_step, task, y, message):
    with pytest.raises(UsageError, match=message):
        new_step(task, {"x": np.zeros((len(y), 3), np.float32), "y": y}, batch_size=4)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_targets_may_have_a_last_dimension_of_one(shape):
    fields = {"x": Field((3,), "float32"), "y": Field(shape, "int64")}
    for task in (examples.classifier(dense), Supervised(lambda: dense(1), keras.losses.MeanSquaredError, SGD)):
        task.build(fields)


@pytest.mark.parametrize(
    "labels", [lambda y: y[:, None], lambda y: y.astype(np.float32), lambda y: y], ids=["column", "float", "function"]
)
def test_labels_outside_the_classes_are_found_in_every_shape(new_step, labels, request):
    loss = keras.losses.sparse_categorical_crossentropy if "function" in request.node.name else examples.CROSSENTROPY
    data = vectors() | {"y": labels(np.full(10, 4))}
    with pytest.raises(UsageError, match="labels 'y' run from 4 to 4, but the model has 4 outputs"):
        new_step(examples.classifier(dense, loss=loss), data)


def test_class_weights_of_labels_in_a_column(new_step):
    """As many examples as classes, where a comparison of shapes [n, 1] and [classes] would go through."""
    data, weights = vectors(), {0: 1, 1: 5, 2: 1, 3: 0}  # whole numbers are numbers, too
    plain, column = (
        first_loss(*new_step(examples.classifier(dense, class_weight=weights), data | {"y": y}, batch_size=4))
        for y in (data["y"], data["y"][:, None])
    )
    assert column == pytest.approx(plain, rel=1e-6)
    with pytest.raises(
        UsageError, match=r"Supervised.class_weight needs one number per example, but 'y' has shape \[2\]"
    ):
        new_step(examples.classifier(dense, class_weight=weights), data | {"y": np.zeros((10, 2), int)})
    with pytest.raises(UsageError, match=r"Supervised.weight needs one number per example, but 'x' has shape \[3\]"):
        new_step(examples.classifier(dense, weight="x"), data)


@pytest.mark.parametrize("step", ["train_step", "test_step", "predict_step", "compute_loss", "compute_metrics"])
def test_a_model_with_a_step_of_its_own_is_refused(new_step, step):
    model = type("Own", (keras.Sequential,), {step: lambda self, *given, **named: None})
    with pytest.raises(UsageError, match=f"Supervised.model: Own has a {step} of its own, which would have no effect"):
        new_step(examples.classifier(lambda: model([layers.Dense(4)])), vectors())


def test_class_weights_of_labels_between_classes_are_kerass_own(new_step):
    """Smoothed labels: the weight is that of the nearest class."""
    data = {"x": vectors()["x"], "y": np.linspace(0, 1, 10).astype(np.float32)}
    weights, loss = {0: 1.0, 1: 5.0}, keras.losses.BinaryCrossentropy(from_logits=True)
    task = Supervised(lambda: dense(1), loss, SGD, class_weight=weights)
    loop, source = new_step(task, data, batch_size=16, shards=4)
    before = task.model.get_weights()
    total, count = first_loss(loop, source)
    task.model.set_weights(before)
    task.model.compile(keras.optimizers.SGD(0.0), loss)
    expected = task.model.fit(data["x"], data["y"][:, None], batch_size=10, class_weight=weights, verbose=0)
    assert total / count == pytest.approx(expected.history["loss"][0], rel=1e-5)


def test_a_weight_of_a_class_that_no_label_has_is_refused(new_step):
    with pytest.raises(UsageError, match="class_weight has a weight for class 4, but labels 'y' run from 0 to 3"):
        new_step(examples.classifier(dense, class_weight={0: 2.0, 4: 2.0}), vectors())


def test_evaluation_has_penalties_and_no_class_weights_as_in_keras(new_step):
    def penalised():
        return keras.Sequential([layers.Dense(4, kernel_regularizer=keras.regularizers.L2(0.5))])

    data = vectors()
    task = examples.classifier(penalised, class_weight={0: 100.0})
    new_step(task, data)
    found = Evaluator(
        tf.distribute.get_strategy(), task, NoAverage(), {"test": Arrays(data)}, Layout(4, 1, 1), CollectiveWait(1)
    ).evaluate("test")
    task.model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected = task.model.evaluate(data["x"], data["y"], batch_size=10, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_a_model_that_is_none_or_has_room_for_fewer_words_is_refused():
    data = {"x": Field((2,), "int64", 0, 6, ("", "a", "b", "c", "d", "e", "f")), "y": Field((), "int64", 0, 1)}
    words = lambda size: keras.Sequential([layers.Embedding(size, 2), layers.Flatten(), layers.Dense(2)])
    assert examples.classifier(lambda: words(7)).build(data).models["model"].built
    with pytest.raises(Exception, match=r"= 6 is not in \[0, 6\)"):
        examples.classifier(lambda: words(6)).build(data)
    with pytest.raises(UsageError, match="Supervised.model made None and no Keras model: does its function return it"):
        examples.classifier(lambda: None).build(data)


def test_metrics_need_names_of_their_own_and_one_number(new_step):
    def top(k, name):
        return lambda: keras.metrics.SparseTopKCategoricalAccuracy(k=k, name=name)

    for metrics, says in (
        ([top(1, "top"), top(2, "top")], "two metrics called 'top'"),
        ([top(1, "loss")], "a metric has the name of an objective, 'loss'"),
    ):
        with pytest.raises(UsageError, match=says):
            new_step(examples.classifier(dense, metrics=metrics), vectors())
    one_hot = vectors() | {"y": np.eye(4, dtype=np.float32)[np.arange(10) % 4]}
    loss = keras.losses.CategoricalCrossentropy(reduction="none")
    task = examples.classifier(dense, metrics=[lambda: keras.metrics.F1Score(name="f1")], loss=loss)
    loop, source = new_step(task, one_hot)
    with pytest.raises(UsageError, match="the metric 'f1' has more than one number"):
        try_step(loop.train_step, source.source)


def test_a_layer_that_carries_something_over_is_refused(new_step):
    data = {"x": np.zeros((8, 5, 3), np.float32), "y": np.zeros(8, np.int64)}
    with pytest.raises(UsageError, match="the layer 'memory' is stateful.*stateful = False"):
        new_step(
            examples.classifier(lambda: keras.Sequential([
                keras.Input((5, 3), batch_size=1), layers.LSTM(4, stateful=True, name="memory"), layers.Dense(4),
            ])),
            data, batch_size=1,
        )  # fmt: skip
