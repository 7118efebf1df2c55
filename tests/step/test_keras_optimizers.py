"""Every optimizer of Keras: the weights that Keras's own fit comes to, resumed bit for bit; or refused."""

import examples
import keras
import numpy as np
import pytest

from trainer.base.errors import UsageError
from trainer.modes.state import TrainState

RATE = 0.01
STEPS = 4
RANDOM = np.random.default_rng(0)
DATA = {"x": RANDOM.normal(size=(32 * STEPS, 6)).astype(np.float32), "y": RANDOM.integers(0, 10, 32 * STEPS)}

# Class -> the arguments of every option that it has beside the rate.
OPTIMIZERS = {
    "Adadelta": {},
    "Adafactor": {},
    "Adagrad": {},
    "Adam": {"amsgrad": True},
    "AdamW": {},
    "Adamax": {},
    "Ftrl": {"l1_regularization_strength": 0.001},
    "Lamb": {},
    "Lion": {},
    "Muon": {"exclude_layers": ["output"]},
    "Nadam": {},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "SGD": {"momentum": 0.9, "nesterov": True},
    "ScheduleFreeAdamW": {"warmup_steps": 2},
}
# Bases, what others are made of, and the two that are refused.
OTHERS = {"Optimizer", "OptimizerMap", "LossScaleOptimizer", "MultiOptimizer"}
# One of each kind: momenta, moments in a fused kernel, factored moments, a weight of its own for each variable.
SAMPLE = {"SGD", "AdamW", "Adafactor", "Muon"}


def network():
    return keras.Sequential([
        keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(8, use_bias=False), keras.layers.Dense(10, name="output"),
    ])  # fmt: skip


def optimizer(name):
    schedule = keras.optimizers.schedules.ExponentialDecay(RATE, decay_steps=2, decay_rate=0.5)
    decay = {} if name == "ScheduleFreeAdamW" else {"weight_decay": 0.1}
    return getattr(keras.optimizers, name)(schedule, **decay, **OPTIMIZERS[name])


@pytest.mark.parametrize("name", examples.classes(keras.optimizers))
def test_every_optimizer_has_its_place_in_the_table(name):
    assert (name in OPTIMIZERS) != (name in OTHERS), f"a new one: say in this file what is right of optimizers.{name}"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow) for name in OPTIMIZERS]
)
def test_an_optimizer_is_kerass_own(new_step, name):
    """With a schedule and weight decay, over four steps; and going on after two gives the same bits."""
    task = examples.classifier(network, lambda: optimizer(name))
    loop, source = new_step(task, DATA, shuffle=False)
    state, first = TrainState(loop.state), examples.weights(loop)
    batches = source.open(0)
    loop.train(batches.take(2))
    saved = state.read()
    loop.train(batches.take(STEPS - 2))
    found, through = list(examples.weights(loop).values()), state.read()

    model = network()
    model.build((None, 6))
    model.set_weights(list(first.values()))
    own = optimizer(name)
    own.build(model.trainable_variables)  # within fit, ScheduleFreeAdamW would forget to start from the weights
    model.compile(own, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(DATA["x"], DATA["y"], batch_size=32, shuffle=False, verbose=0)
    for mine, keras_own, before in zip(found, model.get_weights(), first.values(), strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-4, atol=1e-6)
        assert (mine != before).any()

    state.assign(saved)
    loop.train(source.open(2).take(STEPS - 2))
    resumed = state.read()
    assert [name for name, value in through.items() if resumed[name].tobytes() != value.tobytes()] == []


def test_the_rate_that_is_shown_is_the_one_that_was_used(new_step):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.25])  # 0.5 of updates 0, 1 and 2
    loop, source = new_step(examples.classifier(network, lambda: keras.optimizers.SGD(schedule)), DATA)
    batches, rates = source.open(0), []
    for _ in range(STEPS):
        loop.train(batches.take(1))
        rates.append(loop.read().hyperparameters["learning_rate"])
    assert rates == [0.5, 0.5, 0.5, 0.25]


def test_a_learning_rate_may_be_a_function(new_step):
    loop, source = new_step(examples.classifier(network, lambda: keras.optimizers.SGD(lambda: 0.25)), DATA)
    loop.train(source.open(0).take(1))
    assert loop.read().hyperparameters["learning_rate"] == 0.25
    with pytest.raises(UsageError, match="the learning rate of 'loss' is a schedule, which cannot be scaled"):
        loop.state.scale_learning_rate(0.5)


@pytest.mark.parametrize("hold", [lambda inner: inner, lambda inner: [inner], lambda inner: {"slow": inner}])
def test_an_optimizer_within_an_optimizer_is_refused(new_step, hold):
    """It would reduce gradients once more on each replica, and its state would be in no checkpoint."""

    class Lookahead(keras.optimizers.SGD):
        def __init__(self):
            super().__init__(RATE)
            self.inner = hold(keras.optimizers.Adam(RATE))

    with pytest.raises(UsageError, match="Lookahead.inner is an optimizer within an optimizer"):
        new_step(examples.classifier(network, Lookahead), DATA)


def test_one_optimizer_for_several_groups_of_variables_is_refused(new_step):
    def several():
        return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD()))

    with pytest.raises(UsageError, match="MultiOptimizer cannot be used: .*an Objective for each group"):
        new_step(examples.classifier(network, several), DATA)
