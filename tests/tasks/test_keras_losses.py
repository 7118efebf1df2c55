"""Every loss of Keras: a mean over the global batch, equal to Keras's own however the batch is cut; or refused."""

import itertools

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.tasks.supervised import Supervised

N = 10
RANDOM = np.random.default_rng(0)
POSITIVE = RANDOM.uniform(0.1, 1, (N, 4)).astype(np.float32)
SHARES = POSITIVE / POSITIVE.sum(axis=1, keepdims=True)
LABELS = RANDOM.integers(0, 4, N)
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
SIGNS = np.sign(RANDOM.normal(size=(N, 4))).astype(np.float32)
BINARY = RANDOM.integers(0, 2, (N, 4)).astype(np.float32)
IMAGES, MASKS = RANDOM.uniform(size=(N, 3, 3, 2)).astype(np.float32), RANDOM.integers(0, 2, (N, 3, 3, 2))
WORDS = RANDOM.integers(1, 4, (N, 5))

# Class -> (model's output, target, arguments).
VALUES = {
    "BinaryCrossentropy": (SHARES, BINARY, {}),
    "BinaryFocalCrossentropy": (SHARES, BINARY, {"apply_class_balancing": True}),
    "CTC": (RANDOM.normal(size=(N, 12, 5)).astype(np.float32), WORDS, {}),
    "CategoricalCrossentropy": (SHARES, ONE_HOT, {"label_smoothing": 0.1}),
    "CategoricalFocalCrossentropy": (SHARES, ONE_HOT, {}),
    "CategoricalGeneralizedCrossEntropy": (SHARES, LABELS, {}),
    "CategoricalHinge": (SHARES, ONE_HOT, {}),
    "CosineSimilarity": (POSITIVE, SIGNS, {}),
    "Dice": (IMAGES, MASKS, {"axis": (1, 2, 3)}),
    "Hinge": (POSITIVE, SIGNS, {}),
    "Huber": (POSITIVE, SIGNS, {"delta": 0.5}),
    "KLDivergence": (SHARES, POSITIVE, {}),
    "LogCosh": (POSITIVE, SIGNS, {}),
    "MeanAbsoluteError": (POSITIVE, SIGNS, {}),
    "MeanAbsolutePercentageError": (POSITIVE, SIGNS, {}),
    "MeanSquaredError": (POSITIVE, SIGNS, {}),
    "MeanSquaredLogarithmicError": (POSITIVE, BINARY, {}),
    "Poisson": (POSITIVE, BINARY, {}),
    "SparseCategoricalCrossentropy": (SHARES, LABELS, {}),
    "SquaredHinge": (POSITIVE, SIGNS, {}),
    "Tversky": (IMAGES, MASKS, {"axis": (1, 2, 3), "alpha": 0.3}),
}
# Circle compares the examples of a batch with each other, so there is no number that does not depend on the batch.
OF_PAIRS = {"Circle"}
MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


class Constant(keras.Model):
    """Puts out what is given as the field 'x', with a mask if the last number of a token is given as 0."""

    def __init__(self, masked):
        super().__init__()
        self.masking, self.weight = keras.layers.Masking() if masked else None, self.add_weight((), "ones")

    def call(self, x):
        return x * self.weight if self.masking is None else self.masking(x * self.weight)


def in_convoy(loss, output, target, weight=None, masked=False, cut=(0, 4, 8, 12)):
    """The mean loss over a batch that is padded and cut into shards."""
    data = {"x": output, "y": target} | ({} if weight is None else {"w": weight})
    fields = {name: Field(values.shape[1:], str(values.dtype)) for name, values in data.items()}
    task = Supervised(lambda: Constant(masked), loss, keras.optimizers.SGD, weight=None if weight is None else "w")
    task.build(fields)
    padding = cut[-1] - len(output)
    batch = {name: np.concatenate([values, values[:padding]]) for name, values in data.items()}
    batch["valid"] = np.repeat([1, 0], [len(output), padding]).astype(np.float32)
    batch["global_valid"] = np.full(cut[-1], len(output), np.float32)
    total = count = 0.0
    for first, last in itertools.pairwise(cut):
        shard = {name: tf.constant(values[first:last]) for name, values in batch.items()}
        (found,) = task.losses(shard, tf.zeros(2, tf.int32))[0].values()
        total, count = total + tf.reduce_sum(found.values).numpy(), count + tf.reduce_sum(found.counts).numpy()
    return total / count


def in_keras(loss, output, target, weight=None, masked=False):
    return float(loss(target, keras.layers.Masking()(output) if masked else output, sample_weight=weight))


@pytest.mark.parametrize("name", sorted({*examples.classes(keras.losses)} - {"Loss"}))
def test_every_loss_has_its_place_in_the_table(name):
    assert (name in VALUES) != (name in OF_PAIRS), f"a new loss: say in this file what is right of keras.losses.{name}"


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("reduction", MEANS)
@pytest.mark.parametrize("name", VALUES)
def test_a_loss_is_kerass_own(name, reduction, weighted):
    output, target, arguments = VALUES[name]
    make = lambda: getattr(keras.losses, name)(**arguments, reduction=reduction)
    weight = np.linspace(0.2, 2, N).astype(np.float32) if weighted else None
    assert in_convoy(make(), output, target, weight) == pytest.approx(
        in_keras(make(), output, target, weight), rel=1e-5
    )


@pytest.mark.parametrize("reduction", MEANS)
@pytest.mark.parametrize("name", ["CategoricalCrossentropy", "MeanSquaredError", "SparseCategoricalCrossentropy"])
def test_tokens_that_are_masked_do_not_count(name, reduction):
    shares = np.repeat(SHARES[:, None], 6, axis=1) * np.linspace(0.5, 1, 6)[:, None].astype(np.float32)
    shares[:, 4:] = 0
    shares[3:, 2:] = 0
    target = np.repeat((LABELS if name.startswith("Sparse") else ONE_HOT)[:, None], 6, axis=1)
    # Of shares, which are 0 where the mask is, Keras's categorical cross-entropy is NaN.
    arguments = {"from_logits": True} if name == "CategoricalCrossentropy" else {}
    make = lambda: getattr(keras.losses, name)(**arguments, reduction=reduction)
    expected = in_keras(make(), shares, target, masked=True)
    assert abs(in_keras(make(), np.maximum(shares, 1e-6), target) - expected) > 1e-3
    assert in_convoy(make(), shares, target, masked=True) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("reduction", MEANS)
def test_a_class_that_is_ignored_does_not_count(reduction):
    target = RANDOM.integers(0, 2, (N, 3, 3))
    target[2:, 0], target[5] = 255, 255
    shares = IMAGES / IMAGES.sum(axis=-1, keepdims=True)
    make = lambda: keras.losses.SparseCategoricalCrossentropy(ignore_class=255, reduction=reduction)
    assert in_convoy(make(), shares, target) == pytest.approx(in_keras(make(), shares, target), rel=1e-5)


def squares(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def hinge(y_true, y_pred):
    """Of labels 0 and 1, in whose own dtype 2 * 0 - 1 may be 255."""
    signs = keras.ops.cast(2 * y_true - 1, "float32")
    return keras.ops.mean(keras.ops.maximum(1 - signs * y_pred, 0), axis=-1)


@pytest.mark.parametrize("loss", [squares, hinge, keras.losses.mean_absolute_error])
@pytest.mark.parametrize(
    "target", [BINARY[:, 0], BINARY[:, :1], BINARY[:, 0].astype(np.uint8)], ids=["n", "n1", "byte"]
)
def test_a_function_is_given_what_compile_gives_it(loss, target):
    output = POSITIVE[:, :1]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    model.compile(loss=loss)
    expected = model.evaluate(output, target, verbose=0)
    assert in_convoy(loss, output, target) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["Dice", "Tversky"])
def test_one_number_for_a_whole_batch_is_refused(name):
    with pytest.raises(UsageError, match="Supervised.loss: .* one number for a whole batch.*axis"):
        in_convoy(getattr(keras.losses, name), IMAGES, MASKS)


def test_a_sum_over_the_batch_is_refused():
    with pytest.raises(UsageError, match="Supervised.loss is a MeanSquaredError with reduction = 'sum'.*learning rate"):
        in_convoy(keras.losses.MeanSquaredError(reduction="sum"), POSITIVE, SIGNS)


@pytest.mark.parametrize("name", sorted(OF_PAIRS))
def test_losses_of_pairs_depend_on_the_shard(name):
    embedded = POSITIVE / np.linalg.norm(POSITIVE, axis=1, keepdims=True)
    loss = getattr(keras.losses, name)
    whole, halves = (in_convoy(loss, embedded, LABELS, cut=cut) for cut in ((0, 10), (0, 5, 10)))
    assert whole == pytest.approx(in_keras(loss(), embedded, LABELS), rel=1e-5) != pytest.approx(halves, rel=1e-3)
