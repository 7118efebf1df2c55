"""The train step: the same numbers on any number of devices, equal to a plain computation, and what it refuses."""

import itertools
import math

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers

from trainer.base.errors import UsageError
from trainer.data.digest import mix
from trainer.step.device_loop import shard_functions
from trainer.step.trial import try_step
from trainer.step.variable_names import named_variables
from trainer.tasks.protocol import Loss
from trainer.tasks.supervised import Supervised


def of(found, case):
    return {name.removeprefix(f"{case}/"): value for name, value in found.items() if name.startswith(f"{case}/")}


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(a)


# On several devices, in processes of their own.

SLOW = pytest.mark.slow  # four devices take as long to compile as one, two and three together


@pytest.mark.process
@pytest.mark.parametrize(
    "case, replicas", [("conv", 2), ("conv", 3), pytest.param("conv", 4, marks=SLOW), ("dense_xla", 2)]
)
def test_losses_are_the_same_on_any_number_of_replicas(on_replicas, case, replicas):
    """BatchNorm, dropout, Adam, clipping, L2, a batch with padding; compiled by XLA or not."""
    one, many = of(on_replicas(1), case), of(on_replicas(replicas), case)
    assert one["loss/loss"].shape == (50,)
    assert one["loss/loss"][-5:].mean() < 0.7 * one["loss/loss"][:5].mean()
    for name in ("loss/loss", "loss", "gradient_norm"):
        np.testing.assert_allclose(many[name], one[name], rtol=1e-5, err_msg=name)
    assert (many["accuracy"] == one["accuracy"]).all()
    assert many["state/input/digest"] == one["state/input/digest"]


@pytest.mark.process
@pytest.mark.parametrize("replicas", [2, 3, pytest.param(4, marks=SLOW)])
def test_gradients_from_equal_weights_are_the_same(on_replicas, replicas):
    one, many = of(on_replicas(1), "gradients"), of(on_replicas(replicas), "gradients")
    for step in range(12):
        assert relative(one["gradient"][step], many["gradient"][step]) < 1e-5
    assert len(np.unique(one["gradient_norm"])) == 12
    statistics = [name for name in one if "moving" in name]
    assert len(statistics) == 2
    for name in statistics:
        assert relative(one[name], many[name]) < 1e-5


@pytest.mark.process
def test_objectives_with_schedules_and_averages_are_the_same(on_replicas):
    one, two = of(on_replicas(1), "objectives"), of(on_replicas(2), "objectives")
    weights = [name for name in one if name.startswith(("state/models/", "state/average/"))]
    assert len(weights) == 8
    for name in [*weights, "loss/code", "loss/image"]:
        assert relative(one[name], two[name]) < 1e-5


@pytest.mark.process
def test_short_gradients_cost_digits_and_nothing_else(on_replicas):
    long, short = of(on_replicas(2), "plain"), of(on_replicas(2), "short_reduce")
    assert 1e-6 < relative(long["loss/loss"], short["loss/loss"]) < 1e-2
    for name in ("state/input/digest", "state/epoch/loss/count", "state/step"):
        assert long[name] == short[name]
    assert all(short[name].dtype == long[name].dtype for name in long)


@pytest.mark.process
def test_mixed_bfloat16_learns(on_replicas):
    found = of(on_replicas(2), "bfloat16")
    assert found["loss/loss"][-3:].mean() < 0.6 * found["loss/loss"][:3].mean()
    assert found["state/models/model/sequential/dense/kernel"].dtype == np.float32


@pytest.mark.process
@pytest.mark.parametrize("replicas", [1, 2])
def test_an_overflow_on_one_replica_skips_the_step_on_all(on_replicas, replicas):
    found = of(on_replicas(replicas), "overflow")
    kept = [name for name in found if name.startswith(("after/models/", "after/optimizers/"))]
    assert len([name for name in kept if "moving" in name]) == 2
    assert "after/optimizers/loss/adam/iteration" in kept
    for name in kept:
        assert np.isfinite(found[name]).all()
        assert (found[name][1] == found[name][0]).all(), name
    kernel = found["after/models/model/sequential/dense/kernel"]
    assert all((kernel[i] != kernel[j]).any() for i, j in ((0, 2), (2, 3)))
    assert found["after/skipped_steps"].tolist() == [0, 1, 1, 1]
    assert found["after/step"].tolist() == [1, 2, 3, 4]
    assert found["loss_scale"].tolist() == [2.0**15, 2.0**14, 2.0**14, 2.0**14]
    assert np.isfinite(found["loss/loss"]).tolist() == [True, False, True, True]
    assert len(set(found["after/input/digest"].tolist())) == 4  # its examples have been used


@pytest.mark.process
@pytest.mark.parametrize("replicas", [1, 2])
def test_an_op_that_xla_lacks_changes_nothing_but_the_choice(on_replicas, replicas):
    found, plain = of(on_replicas(replicas), "fallback"), of(on_replicas(replicas), "plain")
    assert not found.pop("xla").any()
    assert found.keys() == plain.keys()
    assert [name for name, value in plain.items() if (found[name] != value).any()] == []
    assert found["accuracy"].any()


@pytest.mark.process
def test_host_calls_of_other_lengths_compile_nothing(on_replicas):
    compiled = on_replicas(1)["programs/compiled"]
    assert compiled[0] > 0
    assert (compiled == compiled[0]).all()


# On one device, against plain computations.


def test_a_step_is_what_a_plain_computation_says(new_step, digits):
    """The mean over the real examples, L2 counted once, clipped after the reduction; the second batch has padding."""
    data = {"x": digits[0][:20], "y": digits[1][:20]}
    regularizer = keras.regularizers.L2(0.1)

    def net():
        dense = layers.Dense(10, kernel_regularizer=regularizer)
        return keras.Sequential([layers.Rescaling(1 / 255), layers.Flatten(), dense])

    task = examples.classifier(net)
    loop, source = new_step(task, data, batch_size=16, shards=4, shuffle=False, clip_norm=0.5)
    kernel, bias = (tf.Variable(value) for value in examples.weights(loop).values())
    batches = source.open(0)
    for which in (slice(0, 16), slice(16, 20)):
        x, y = tf.reshape(data["x"][which], (-1, 784)), data["y"][which]
        with tf.GradientTape() as tape:
            logits = tf.cast(x, tf.float32) / 255 @ kernel + bias
            errors = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            loss = tf.reduce_mean(errors) + 0.1 * tf.reduce_sum(kernel**2)
        gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, [kernel, bias]), 0.5)
        kernel.assign_sub(0.1 * gradients[0])
        bias.assign_sub(0.1 * gradients[1])
        loop.train(batches.take(1))
        read = loop.read()
        total, count = read.losses["loss"]
        assert total / count == pytest.approx(loss.numpy(), rel=1e-6)
        assert read.hyperparameters["gradient_norm"] == pytest.approx(norm.numpy(), rel=1e-5) and norm > 0.5
        for found, expected in zip(examples.weights(loop).values(), (kernel, bias), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_moving_statistics_move_by_the_mean_of_the_shards(new_step):
    """Ten examples in four shards of four: two are full, one is filled up with real examples, one is empty."""
    x = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    model = lambda: keras.Sequential([layers.BatchNormalization(momentum=0.5), layers.Dense(10)])
    loop, source = new_step(examples.classifier(model), {"x": x, "y": np.arange(10)}, batch_size=16, shards=4)
    block, _, _ = segment = next(source.open(0).take(1))
    assert block["valid"][0].numpy().sum(axis=1).tolist() == [4, 4, 2, 0]
    loop.train([segment])
    found = {name.split("/")[-1]: value for name, value in examples.values(loop).items() if "moving" in name}
    shards = block["x"][0, :3].numpy()
    np.testing.assert_allclose(found["moving_mean"], 0.5 * shards.mean(axis=1).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["moving_variance"], 0.5 + 0.5 * shards.var(axis=1).mean(axis=0), rtol=1e-5)


def test_without_clipping_the_norm_is_of_the_last_step(new_step, digits):
    data = {"x": digits[0][:64], "y": digits[1][:64]}
    new = lambda: new_step(examples.classifier(optimizer=lambda: optimizers.SGD(1.0)), data)
    loop, source = new()
    batches, weights = source.open(0), [examples.weights(loop)]
    for _ in range(2):
        loop.train(batches.take(1))
        weights.append(examples.weights(loop))
    first, last = (
        np.sqrt(sum(((after[name] - before[name]) ** 2).sum() for name in after))
        for before, after in itertools.pairwise(weights)
    )
    loop, source = new()
    loop.train(source.open(0).take(2))
    norm = loop.read().hyperparameters["gradient_norm"]
    assert norm == pytest.approx(last, rel=1e-4) != pytest.approx(first, rel=1e-2)


def test_objectives_are_stepped_on_schedules_of_their_own(new_step, digits):
    loop, source = new_step(examples.Autoencoder(every=3), {"x": digits[0][:100]})
    batches, moved, before = source.open(0), [], examples.weights(loop)
    for _ in range(7):
        loop.train(batches.take(1))
        after = examples.weights(loop)
        moved.append({name.split("/")[0] for name in after if (after[name] != before[name]).any()})
        before = after
    both, decoder = {"encoder", "decoder"}, {"decoder"}
    assert moved == [both, decoder, decoder, both, decoder, decoder, both]
    assert {
        "learning_rate/code",
        "learning_rate/image",
        "gradient_norm/code",
    } <= loop.read().hyperparameters.keys()


def test_the_average_follows_the_weights(new_step, digits):
    """For 16 steps it is the weights; then it is brought up to date every 16, with a decay of as many steps."""
    data = {"x": digits[0][:64], "y": digits[1][:64]}
    loop, source = new_step(examples.classifier(), data, average_decay=0.95)
    batches = source.open(0)
    for steps in (5, 11, 16, 3):
        loop.train(batches.take(steps))
        weights, decay = examples.weights(loop), 0.95**16
        if steps in (5, 11):
            average = weights
        elif steps == 16:
            average = {name: decay * value + (1 - decay) * weights[name] for name, value in average.items()}
    for name, value in average.items():
        np.testing.assert_allclose(examples.values(loop)[f"average/loss/{name}"], value, rtol=1e-5, atol=1e-6)
    with loop.state.average.in_place():
        assert all((v == examples.values(loop)[f"average/loss/{n}"]).all() for n, v in examples.weights(loop).items())
    assert all((v == weights[n]).all() for n, v in examples.weights(loop).items())


def test_what_is_random_depends_on_seed_step_and_shard(new_step, digits):
    """One example, weights that stay: all that changes a loss is which units are dropped."""
    data = {"x": digits[0][:1], "y": digits[1][:1]}

    def losses(seed):
        """Makes a loop, and returns what tells the losses of five of its steps, from a first one on."""
        task = examples.classifier(lambda: examples.conv_net(0.5), lambda: optimizers.SGD(0.0))
        loop, source = new_step(task, data, batch_size=1, seed=seed)

        def of_five(first):
            loop.state.counters.step.assign(first)
            batches, found = source.open(first), []
            for _ in range(5):
                loop.train(batches.take(1))
                found.append(loop.read().losses["loss"][0])
            return found

        return of_five

    one = losses(seed=1)
    first = one(0)
    assert len(set(first)) == 5
    assert one(0) == first
    assert one(3)[:2] == first[3:]
    assert not set(losses(seed=2)(0)) & set(first)


def test_sums_are_of_the_epoch_and_since_the_last_report(new_step, digits):
    data = {"x": digits[0][:50], "y": digits[1][:50]}
    loop, source = new_step(examples.classifier(), data, batch_size=20)
    batches, recent = source.open(0), []
    for _ in range(3):
        loop.train(batches.take(1))
        read = loop.read()
        recent.append(read.losses["loss"])
    assert [count for _, count in recent] == [1.0, 1.0, 0.5]
    assert read.metrics["loss"] == pytest.approx(sum(total for total, _ in recent) / 2.5)
    assert read.metrics["accuracy"] * 50 == pytest.approx(round(read.metrics["accuracy"] * 50), abs=1e-4)
    assert loop.read().losses["loss"] == (0.0, 0.0)
    loop.state.reset_epoch()
    assert math.isnan(loop.read().metrics["loss"])


def test_weights_that_are_no_numbers_are_noticed(new_step, digits):
    """Although the loss of that step, computed before them, still was one."""
    data = {"x": digits[0][:8], "y": digits[1][:8]}
    loop, source = new_step(examples.classifier(optimizer=lambda: optimizers.SGD(np.inf)), data, batch_size=8)
    assert loop.read().finite
    loop.train(source.open(0).take(1))
    read = loop.read()
    assert np.isfinite(read.losses["loss"][0]) and not read.finite


class Told(Supervised):
    """Adds parts of its loss, to be shown, and a number to the loss."""

    added = 0.0

    def losses(self, batch, seed):
        found, outputs = super().losses(batch, seed)
        loss = found["loss"]
        shown = Loss(2 * loss.values, loss.counts)
        return {
            "loss": loss._replace(shared=self.added),
            "twice": shown,
            "nan": shown._replace(shared=math.nan),
        }, outputs

    def evaluate(self, batch, outputs):
        loss = super().evaluate(batch, outputs)["loss"]
        return {"loss": loss, "twice": Loss(2 * loss.values, loss.counts)}


def told(metrics=()):
    return Told(examples.dense_net, examples.CROSSENTROPY, lambda: optimizers.SGD(0.1), metrics)


def test_what_a_task_shows_beside_its_loss_is_summed_alike(new_step, digits):
    """The last batch is short. What is only shown may be NaN, a loss may not."""
    task, data = told(), {"x": digits[0][:80], "y": digits[1][:80]}
    loop, source = new_step(task, data, shards=2)
    try_step(loop.train_step, source.source)
    batches = source.open(0)
    for _ in range(3):
        loop.train(batches.take(1))
        read = loop.read()
        (total, count), (twice, same) = read.losses["loss"], read.losses["twice"]
        assert (twice, same) == (pytest.approx(2 * total), count)
        assert read.finite and math.isnan(read.metrics["nan"])
    assert list(read.metrics) == ["loss", "twice", "nan"]
    assert read.metrics["twice"] == pytest.approx(2 * read.metrics["loss"])
    task.added = math.nan
    loop, source = new_step(task, data)
    loop.train(source.open(0).take(1))
    assert not loop.read().finite


def test_a_metric_cannot_have_the_name_of_what_is_shown(new_step, digits):
    data = {"x": digits[0][:8], "y": digits[1][:8]}
    loop, source = new_step(told([lambda: keras.metrics.SparseCategoricalAccuracy(name="twice")]), data)
    with pytest.raises(UsageError, match="a metric has the name of a loss, 'twice': give the metric another name"):
        try_step(loop.train_step, source.source)


WORDS = {"x": np.random.default_rng(0).integers(0, 1000, (32, 7)), "y": np.arange(32) % 10}


def averaged_words():
    return keras.Sequential([
        layers.Embedding(1000, 3), layers.GlobalAveragePooling1D(), layers.Dense(10, dtype="float32")
    ])  # fmt: skip


def test_gradients_of_embeddings_stay_rows_over_the_shards(new_step):
    """No shard makes a gradient of the whole table, which may be large, of the few rows that it has seen."""

    def whole_tables(shards):
        loop, source = new_step(examples.classifier(averaged_words), WORDS, shards=shards)
        step, functions = loop.train_step, shard_functions(loop.train_step, xla=False)
        run = lambda block: step.strategy.run(step.mean_gradients, args=(functions, block, 0))
        block = next(source.open(0).take(1)).block
        graph = tf.function(run, autograph=False).get_concrete_function(block).graph
        shapes = [tuple(each.shape) for op in graph.get_operations() for each in op.outputs if each.shape.rank == 2]
        return shapes.count((1000, 3))

    assert whole_tables(4) == whole_tables(1)


@pytest.mark.parametrize("xla", [False, True])
def test_embeddings_learn_alike_in_any_number_of_shards(new_step, xla):
    found = {}
    for shards in (1, 4):
        loop, source = new_step(examples.classifier(averaged_words), WORDS, shards=shards, xla=xla)
        loop.train(source.open(0).take(3))
        found[shards] = np.concatenate([weight.ravel() for weight in examples.weights(loop).values()])
    np.testing.assert_allclose(found[4], found[1], rtol=1e-4, atol=1e-6)


def test_gradients_can_be_poisoned_at_one_step(new_step, digits):
    loop, source = new_step(examples.classifier(), {"x": digits[0][:8], "y": digits[1][:8]}, batch_size=8)
    loop.train_step.inject_nan(2)
    batches = source.open(0)
    for finite in (True, True, False):
        loop.train(batches.take(1))
        assert loop.read().finite is finite


def test_the_digest_is_the_sum_over_what_went_through(new_step, digits):
    data = {"x": digits[0][:50], "y": digits[1][:50]}
    loop, source = new_step(examples.classifier(), data, batch_size=20, shards=3)
    loop.train(source.open(0).take(7))
    number, place = tf.range(7, dtype=tf.int64)[:, None], tf.range(20, dtype=tf.int64)
    ids, valid = source.order.locate(number, place)
    hashed = mix(ids, number * 20 + place).numpy()
    assert loop.state.counters.digest.numpy() == hashed[valid.numpy()].sum()
    assert loop.state.counters.step.numpy() == 7


def test_xla_is_chosen_by_the_layers_unless_somebody_chose(new_step, digits):
    data = {"x": digits[0][:8], "y": digits[1][:8]}
    chosen = []
    for net, xla in ((examples.dense_net, None), (examples.conv_net, None), (examples.dense_net, False)):
        loop, source = new_step(examples.classifier(net), data, batch_size=8, xla=xla)
        loop.train(source.open(0).take(1))
        chosen.append(loop.xla)
    assert chosen == [True, False, False]


@pytest.mark.parametrize("xla", [True, False])
def test_host_calls_of_other_lengths_trace_nothing(new_step, digits, xla):
    traced = []

    def loss(y, logits):
        traced.append(1)
        return keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)

    task = examples.Supervised(examples.dense_net, loss, lambda: optimizers.SGD(0.1))
    loop, source = new_step(task, {"x": digits[0][:500], "y": digits[1][:500]}, batch_size=4, xla=xla)
    batches = source.open(0)
    loop.train(batches.take(1))
    first = len(traced)
    for steps in (2, 60, 1, 70, 5):
        loop.train(batches.take(steps))
        loop.read()
    assert len(traced) == first > 0


@pytest.mark.parametrize(
    "optimizer, name, remedy",
    [
        (lambda: optimizers.Adam(clipnorm=1.0), "Adam.clipnorm", "clip_norm"),
        (lambda: optimizers.SGD(global_clipnorm=1.0), "SGD.global_clipnorm", "clip_norm"),
        (lambda: optimizers.SGD(clipvalue=1.0), "SGD.clipvalue", "clip_norm"),
        (lambda: optimizers.SGD(use_ema=True), "SGD.use_ema", "average_decay"),
        (lambda: optimizers.SGD(gradient_accumulation_steps=2), "SGD.gradient_accumulation_steps", "shards"),
        (lambda: optimizers.SGD(loss_scale_factor=2.0), "SGD.loss_scale_factor", "mixed_float16"),
        (lambda: optimizers.LossScaleOptimizer(optimizers.SGD()), "LossScaleOptimizer", "mixed_float16"),
    ],
)
def test_optimizers_that_would_act_on_each_replica_alone_are_refused(new_step, digits, optimizer, name, remedy):
    with pytest.raises(UsageError, match=f"{name}.*Arithmetic.*{remedy}"):
        new_step(examples.classifier(optimizer=optimizer), {"x": digits[0][:8], "y": digits[1][:8]})


def test_variables_that_keras_names_alike_are_numbered(new_step):
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = (layers.Dense(10, name="twin") for _ in range(2))

        def call(self, x):
            return self.second(self.first(x))

    data = {"x": np.zeros((8, 3), np.float32), "y": np.arange(8)}
    loop, _ = new_step(examples.classifier(Model), data)
    kernels = {name: v.shape for name, v in named_variables(loop.state).items() if "/kernel" in name}
    assert kernels == {"models/model/model/twin/kernel": (3, 10), "models/model/model/twin/kernel_1": (10, 10)}


def test_an_objective_on_a_schedule_reports_its_norm(new_step, digits):
    data = {"x": digits[0][:64], "y": digits[1][:64]}
    loop, source = new_step(examples.Autoencoder(every=3), data)
    loop.train(source.open(0).take(5))  # the last step in which it was due is the fourth
    found = loop.read().hyperparameters
    assert found["gradient_norm/code"] > 0 and found["gradient_norm/image"] > 0


def test_models_of_equal_names_are_averaged_apart(new_step, digits):
    class Twins(examples.Autoencoder):
        def build(self, fields):
            parts = super().build(fields)
            names = [v.path for o in parts.objectives for v in o.variables]
            for objective in parts.objectives:
                for v in objective.variables:
                    v._path = v.path.replace("encoder", "twin").replace("decoder", "twin").replace("dense_1", "dense")
            assert len({v.path for o in parts.objectives for v in o.variables}) < len(names)
            return parts

    data = {"x": digits[0][:64], "y": digits[1][:64]}
    loop, source = new_step(Twins(every=1), data, average_decay=0.9)
    loop.train(source.open(0).take(2))
    trained = sum(len(o.variables) for o in loop.state.parts.objectives)
    assert len([name for name in named_variables(loop.state) if name.startswith("average/")]) == trained


class Annealed(layers.Layer):
    """Divides by 1 + 0.1 n, where n counts its calls in training, by `by` or the number of examples."""

    def __init__(self, by=1, dtype_of_n="int32"):
        super().__init__()
        self.by, self.dtype_of_n = by, dtype_of_n

    def build(self, shape):
        self.n = self.add_weight(shape=(), dtype=self.dtype_of_n, initializer="zeros", trainable=False, name="n")

    def call(self, x, training=False):
        if training:
            added = tf.shape(x)[0] if self.by is None else self.by
            self.n.assign(self.n + tf.cast(added, self.dtype_of_n))
        return x / (1.0 + 0.1 * tf.cast(self.n, x.dtype))


@pytest.mark.parametrize("shards", [1, 4])
def test_a_layer_counts_once_per_step(new_step, digits, shards):
    data = {"x": digits[0][:96], "y": digits[1][:96]}
    model = lambda: keras.Sequential([layers.Rescaling(1 / 255), layers.Flatten(), Annealed(3), layers.Dense(10)])
    loop, source = new_step(examples.classifier(model), data, shards=shards)
    try_step(loop.train_step, source.source)
    loop.train(source.open(0).take(3))
    assert [v.numpy() for name, v in named_variables(loop.state).items() if name.endswith("/n")] == [9]


@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_layer_that_counts_examples_is_refused(new_step, digits, dtype, dropout):
    model = lambda: keras.Sequential([
        layers.Rescaling(1 / 255), layers.Flatten(), layers.Dropout(dropout), Annealed(None, dtype), layers.Dense(10)
    ])  # fmt: skip
    loop, source = new_step(examples.classifier(model), {"x": digits[0][:8], "y": digits[1][:8]})
    with pytest.raises(UsageError, match="annealed.*/n' changes by 2 with a batch of two examples and by 4"):
        try_step(loop.train_step, source.source)


def test_weights_that_no_gradient_reaches_stay_as_they_are(new_step, digits):
    """As in Keras: weight decay would shrink them."""

    class Idle(layers.Layer):
        def build(self, shape):
            self.idle = self.add_weight(shape=(3,), initializer="ones", name="idle")

        def call(self, x):
            return x

    model = lambda: keras.Sequential([layers.Flatten(), Idle(name="layer"), layers.Dense(10)])
    task = examples.classifier(model, lambda: optimizers.AdamW(0.01, weight_decay=0.5))
    loop, source = new_step(task, {"x": digits[0][:64] / 255, "y": digits[1][:64]})
    try_step(loop.train_step, source.source)
    assert [path.split("/")[-2:] for path in loop.state.unreached] == [["layer", "idle"]]
    loop.train(source.open(0).take(2))
    assert task.model.layers[1].idle.numpy().tolist() == [1, 1, 1]


def test_a_loss_that_depends_on_no_weight_is_refused(new_step, digits):
    constant = lambda y_true, y_pred: keras.ops.ones_like(y_true)
    loop, source = new_step(examples.classifier(loss=constant), {"x": digits[0][:8], "y": digits[1][:8]})
    with pytest.raises(UsageError, match="the loss of the objective 'loss' depends on none of its weights"):
        try_step(loop.train_step, source.source)


def test_trying_a_step_changes_nothing(new_step, digits):
    loop, source = new_step(
        examples.classifier(lambda: examples.dense_net(0.5)), {"x": digits[0][:8], "y": digits[1][:8]}
    )
    before = examples.values(loop)
    try_step(loop.train_step, source.source)
    assert [name for name, value in examples.values(loop).items() if value.tobytes() != before[name].tobytes()] == []


def test_a_synchronized_layer_is_refused(new_step, digits):
    model = lambda: keras.Sequential([layers.Flatten(), layers.BatchNormalization(synchronized=True), layers.Dense(10)])
    with pytest.raises(UsageError, match="'batch_normalization' is synchronized.*synchronized = False"):
        new_step(examples.classifier(model), {"x": digits[0][:8], "y": digits[1][:8]})


def test_a_strided_convolution_can_be_tried(new_step, digits):
    """TensorFlow crashes in its gradient for a batch of one image."""
    model = lambda: keras.Sequential([
        layers.Rescaling(1 / 255), layers.Reshape((28, 28, 1)), layers.Conv2D(4, 3), layers.Conv2D(4, 1, strides=2),
        layers.Flatten(), layers.Dense(10),
    ])  # fmt: skip
    loop, source = new_step(examples.classifier(model), {"x": digits[0][:8], "y": digits[1][:8]})
    try_step(loop.train_step, source.source)
