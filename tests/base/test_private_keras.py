"""The private parts of Keras that the step relies on: the first tests to fail when Keras changes.

What to do then: find what does the same in the new version, change trainer/base/private_keras.py alone, run
`python -m benchmarks.same_numbers` on the state before and after, and raise the bound of keras in setup.py.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers

from trainer.base import private_keras


def nested():
    inner = keras.Sequential([layers.Dropout(0.5, name="a"), layers.BatchNormalization(), layers.Dense(4)])
    frozen = layers.Dense(3, trainable=False)
    shared = layers.GaussianNoise(1.0)
    model = keras.Sequential([inner, shared, frozen, shared])
    model(tf.zeros((2, 5)))
    return model


def test_every_seed_is_found_once():
    model = nested()
    seeds = private_keras.seed_variables([model, model.layers[0]])
    assert len(seeds) == 2
    assert {tuple(seed.shape) for seed in seeds} == {(2,)}


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Dropout(0.5),
        lambda: layers.GaussianNoise(1.0),
        lambda: layers.RandomFlip(),
        lambda: layers.SpatialDropout2D(0.5),
        lambda: keras.Sequential([layers.Reshape((8, 24)), layers.GRU(4, dropout=0.5)]),
    ],
)
@pytest.mark.parametrize("xla", [False, True])
def test_setting_the_seeds_repeats_what_layers_draw(make, xla):
    model = keras.Sequential([make()])
    x = tf.constant(np.random.default_rng(0).normal(size=(16, 8, 8, 3)), tf.float32)
    model(x)
    seeds = private_keras.seed_variables([model])
    draw = tf.function(lambda: model(x, training=True), jit_compile=xla)

    def drawn(number):
        for seed in seeds:
            seed.value.assign(tf.cast([number, 1], seed.value.dtype))
        return draw().numpy()

    assert seeds
    assert (drawn(3) == drawn(3)).all()
    assert (drawn(3) != drawn(4)).any()


def test_statistics_are_what_layers_update_themselves():
    model = nested()
    assert sorted(v.name for v in private_keras.statistics([model])) == ["moving_mean", "moving_variance"]
    model.trainable = False
    assert len(private_keras.statistics([model])) == 2
    normalization = layers.Normalization()
    normalization.adapt(np.arange(6.0)[:, None])  # its count is an integer, and changes in no training step
    assert all("count" not in v.name for v in private_keras.statistics([keras.Sequential([normalization])]))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = [layers.Dense(2), keras.Sequential([layers.Dense(3), layers.ReLU()])]

    def call(self, x):
        return self.block[1](self.block[0](x))


def functional():
    x = keras.Input((4,))
    return keras.Model(x, layers.Add()([layers.Dense(2)(x), layers.Dense(2)(x)]))


@pytest.mark.parametrize(
    "make, expected",
    [
        (nested, ["BatchNormalization", "Dense", "Dense", "Dropout", "GaussianNoise"]),
        (Subclassed, ["Dense", "Dense", "ReLU"]),
        (functional, ["Add", "Dense", "Dense"]),
    ],
)
def test_leaf_layers_compute_something(make, expected):
    assert sorted(type(layer).__name__ for layer in private_keras.leaf_layers([make()])) == expected


def test_the_method_that_reduces_gradients_is_still_called_that():
    """That gradients are then summed once and not twice is seen on two replicas, in tests/step/test_train_step.py."""
    optimizer = optimizers.SGD()
    assert callable(optimizer._all_reduce_sum_gradients)
    private_keras.own_reduction(optimizer)
    assert optimizer._all_reduce_sum_gradients([(1, 2)]) == [(1, 2)]


def trained(make, fused, steps=6):
    """The optimizer's variables and the weights after some steps of random gradients, and the ops of a step."""
    keras.utils.clear_session(free_memory=False)  # optimizers are numbered
    rng = np.random.default_rng(0)
    weights = [
        keras.Variable(rng.normal(size=(6, 5)), constraint=keras.constraints.MaxNorm(1.5), name="kernel"),
        keras.Variable(rng.normal(size=(5,)), name="bias"),
        keras.Variable(rng.normal(), name="scalar"),
    ]
    optimizer = make()
    optimizer.build(weights)
    if fused:
        private_keras.fuse(optimizer)
    step = tf.function(lambda *gradients: optimizer.apply(gradients, weights))
    gradients = [[tf.constant(rng.normal(size=w.shape), tf.float32) for w in weights] for _ in range(steps)]
    ops = {op.type for op in step.get_concrete_function(*gradients[0]).graph.get_operations()}
    for each in gradients:
        step(*each)
    return {v.path: v.numpy() for v in [*optimizer.variables, *weights]}, ops


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.Adam(0.01),
        lambda: optimizers.Adam(0.01, beta_1=0.5, beta_2=0.9, epsilon=1e-3),
        lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.02, decay_steps=2, decay_rate=0.5)),
        lambda: optimizers.Adam(0.01, weight_decay=0.1),
        lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    ],
)
def test_fused_adam_is_kerass_adam(make):
    (fused, ops), (plain, plain_ops) = trained(make, True), trained(make, False)
    assert "ResourceApplyAdam" in ops and "ResourceApplyAdam" not in plain_ops
    assert fused.keys() == plain.keys() and len(fused) >= 8
    for name, value in plain.items():
        # The kernel takes 1 - beta_2 in float32, 1.3e-5 off for 0.999; its bias correction mostly makes up for it.
        rtol = 2e-5 if "velocity" in name else 2e-6
        np.testing.assert_allclose(fused[name], value, rtol=rtol, atol=5e-7, err_msg=name)


@pytest.mark.parametrize(
    "make", [lambda: optimizers.Adam(0.01, amsgrad=True), lambda: optimizers.Nadam(0.01), lambda: optimizers.SGD(0.01)]
)
def test_optimizers_that_are_not_adam_stay_as_they_are(make):
    (fused, ops), (plain, _) = trained(make, True), trained(make, False)
    assert "ResourceApplyAdam" not in ops
    assert all((fused[name] == value).all() for name, value in plain.items())


def test_layers_attach_their_mask_to_what_they_put_out():
    model = keras.Sequential([layers.Embedding(5, 2, mask_zero=True), layers.LSTM(3, return_sequences=True)])
    mask = private_keras.mask_of(model(tf.constant([[1, 2, 0], [3, 0, 0]])))
    assert mask.numpy().tolist() == [[True, True, False], [True, False, False]]
    assert private_keras.mask_of(tf.zeros((2, 3))) is None


def test_a_loss_of_a_function_gives_it_floats_of_one_rank():
    given = []

    def function(y_true, y_pred):
        given.append((y_true.shape, y_pred.shape))
        return y_pred[:, 0]

    loss = private_keras.loss_of(function)
    loss.call(tf.constant([1.0, 2.0]), tf.constant([[1.0], [2.0]]))
    assert given == [((2, 1), (2, 1))] and loss.name == "function"
    assert private_keras.function_of(loss) is function
    assert private_keras.function_of(keras.losses.MeanSquaredError()) is not None
    assert private_keras.function_of(keras.losses.Loss()) is None


def test_what_a_layer_would_train_is_known_while_it_is_frozen():
    layer = keras.layers.BatchNormalization()
    layer.build((None, 3))
    layer.trainable = False
    assert [v.name for v in private_keras.own_weights(layer)] == ["gamma", "beta"] and layer.trainable_variables == []
