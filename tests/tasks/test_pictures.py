"""Tasks whose trained variable is an image: what is minimised, what moves, and that padding is not looked at."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.step.variable_names import named_variables
from trainer.tasks.deepdream import DeepDream
from trainer.tasks.protocol import Showing
from trainer.tasks.style_transfer import StyleTransfer

ADAM = lambda: keras.optimizers.Adam(1.0)


class Network(keras.Model):
    """Two layers, both of which can be looked at."""

    def __init__(self):
        super().__init__()
        self.one, self.two = layers.Conv2D(4, 3, padding="same"), layers.Conv2D(6, 3, strides=2)

    def call(self, images):
        one = self.one(images / 255)
        return {"one": one, "two": self.two(one)}


def photo(height=20, width=24, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def dream(**options):
    return DeepDream(Network, ADAM, **{"layers": {"two": 1.0}, "octaves": 1, "jitter": 0} | options)


def transfer(**options):
    chosen = {"content": "two", "style": ["one", "two"], "style_weight": 2.0, "variation_weight": 3.0}
    return StyleTransfer(Network, ADAM, **chosen | options)


def built(task, **images):
    keras.utils.set_random_seed(0)
    parts = task.build({name: Field(image.shape[1:], "uint8") for name, image in images.items()})
    return task, parts, {**images, "valid": tf.ones(1), "id": tf.zeros(1, tf.int64)}


def loss(task, batch, seed=(0, 0)):
    found = task.losses(batch, tf.constant(seed))[0]["loss"]
    return found.values.numpy(), found.counts.numpy()


def mean_squares(task, images, name="two"):
    return np.square(task.model(tf.cast(images, tf.float32))[name].numpy()).mean(axis=(1, 2, 3))


def test_a_dream_maximises_the_mean_square_of_each_layer_by_its_weight():
    task, _, batch = built(dream(layers={"one": 2.0, "two": 0.5}), x=photo())
    expected = -2.0 * mean_squares(task, batch["x"], "one") - 0.5 * mean_squares(task, batch["x"])
    np.testing.assert_allclose(loss(task, batch)[0], expected, rtol=1e-5)


def test_octaves_are_the_same_at_several_sizes_at_once():
    task, _, batch = built(dream(octaves=3, ratio=2.0), x=photo())
    sizes = [(20, 24), (10, 12), (5, 6)]
    images = [tf.image.resize(batch["x"], size, antialias=True) for size in sizes]
    expected = -np.mean([mean_squares(task, image) for image in images], axis=0)
    np.testing.assert_allclose(loss(task, batch)[0], expected, rtol=1e-5)


def test_jitter_shifts_by_what_the_seed_says_and_reflects_at_the_border():
    task, _, batch = built(dream(jitter=2), x=photo())
    wide = np.pad(batch["x"], ((0, 0), (2, 2), (2, 2), (0, 0)), "reflect")
    shifts = [wide[:, i : i + 20, j : j + 24] for i in range(5) for j in range(5)]
    possible = -np.concatenate([mean_squares(task, shifted) for shifted in shifts])
    found = [loss(task, batch, (i, 7))[0][0] for i in range(60)]
    assert found == [loss(task, batch, (i, 7))[0][0] for i in range(60)]
    nearest = np.abs(np.array(found)[:, None] - possible).argmin(axis=1)
    np.testing.assert_allclose(found, possible[nearest], rtol=1e-5)
    assert len(set(nearest.tolist())) > 15  # of 25


def test_the_photo_and_what_is_added_to_it_stay_within_bytes():
    task, _, batch = built(dream(), x=photo())
    task.change.assign(np.full((20, 24, 3), 100.0))
    shown = task.samples(batch, tf.constant([0, 0]))["images/picture"].numpy()
    np.testing.assert_allclose(shown, np.minimum(batch["x"] + 100.0, 255.0) / 255, rtol=1e-6)
    assert (task.outputs(batch)["image"].numpy() == shown).all()
    assert isinstance(task, Showing)


def test_a_transfer_starts_without_error_where_the_painting_is_the_photo():
    image = photo()
    task, _, batch = built(transfer(), x=image, painting=image)
    steps = [np.abs(np.diff(image.astype(float), axis=axis)).sum() for axis in (1, 2)]
    np.testing.assert_allclose(loss(task, batch)[0], 3.0 * sum(steps) / image.size / 255, rtol=1e-5)


def test_the_terms_of_a_transfer_are_relative_errors_of_activations_and_of_gram_matrices():
    task, _, batch = built(transfer(variation_weight=0.0), x=photo(), painting=photo(30, 16, seed=1))
    task.change.assign(np.random.default_rng(2).normal(scale=20.0, size=(20, 24, 3)))
    changed = task.outputs(batch)["image"] * 255
    found, wanted, painted = (
        {name: values.numpy()[0] for name, values in task.model(tf.cast(images, tf.float32)).items()}
        for images in (changed, batch["x"], batch["painting"])
    )

    def gram(values):
        flat = values.reshape(-1, values.shape[-1])
        return flat.T @ flat / len(flat)

    def error(a, b):
        return ((a - b) ** 2).sum() / (b**2).sum()

    style = np.mean([error(gram(found[name]), gram(painted[name])) for name in ("one", "two")])
    expected = error(found["two"], wanted["two"]) + 2.0 * style
    np.testing.assert_allclose(loss(task, batch)[0], expected, rtol=1e-4)


@pytest.mark.parametrize("make", [dream, transfer])
def test_padding_is_not_looked_at(make):
    task, _, batch = built(make(), x=photo(), painting=photo(seed=1))
    alone = loss(task, batch)[0][0]
    several = {name: np.repeat(values, 3, axis=0) for name, values in batch.items()}
    for valid, expected in (([1, 0, 0], [alone, 0, 0]), ([0, 0, 0], [0, 0, 0]), ([1, 0, 1], [alone, 0, alone])):
        values, counts = loss(task, several | {"valid": tf.constant(valid, tf.float32)})
        np.testing.assert_allclose(values, expected, rtol=1e-5)
        assert counts.tolist() == valid


@pytest.mark.parametrize("make", [dream, transfer])
def test_nothing_but_the_picture_is_trained(make, new_step):
    task = make()
    loop, data = new_step(task, {"x": photo(), "painting": photo(seed=1)}, batch_size=2, shards=2)
    network = [weight.numpy() for weight in task.model.weights]
    loop.train(data.open(0).take(8))
    assert [list(o.variables) for o in loop.state.parts.objectives] == [[task.change]]
    for before, after in zip(network, task.model.weights, strict=True):
        np.testing.assert_array_equal(before, after.numpy())
    slots = [name for name in named_variables(loop.state) if name.startswith("optimizers/")]
    assert sum("momentum" in name for name in slots) == 1
    assert "variables/change" in named_variables(loop.state) and np.abs(task.change.numpy()).max() > 1.0


@pytest.mark.parametrize("make", [dream, transfer])
def test_the_loss_falls(make, new_step):
    loop, data = new_step(make(), {"x": photo(), "painting": photo(seed=1)}, batch_size=2, shards=2)
    batches, losses = data.open(0), []
    for _ in range(12):
        loop.train(batches.take(1))
        total, count = loop.read().losses["loss"]
        losses.append(total / count)
    assert losses[-1] < losses[0] - 0.01 * abs(losses[0])


@pytest.mark.parametrize(("make", "fields", "says"), [
    (dream, {"y": (8, 8, 3)}, r"the field 'x' as a colour image; the data has: 'y' uint8 \[8, 8, 3\]"),
    (dream, {"x": (8, 8, 1)}, r"'x' uint8 \[8, 8, 1\]"),
    (dream, {"x": (8, 8)}, r"'x' uint8 \[8, 8\]"),
    (transfer, {"x": (8, 8, 3)}, "the field 'painting' as a colour image"),
    (lambda: dream(layers={"three": 1.0}), {"x": (8, 8, 3)}, "no layer 'three'; it has: one, two"),
    (lambda: transfer(style=["three"]), {"x": (8, 8, 3), "painting": (8, 8, 3)}, "no layer 'three'"),
    (lambda: dream(layers={}), {"x": (8, 8, 3)}, "DeepDream: name at least one layer"),
    (lambda: transfer(style=[]), {"x": (8, 8, 3), "painting": (8, 8, 3)}, "StyleTransfer.style is empty"),
    (lambda: dream(octaves=9, ratio=2.0), {"x": (64, 128, 3)}, "octaves = 9 leaves nothing of 64 x 128"),
    (lambda: dream(jitter=8), {"x": (8, 12, 3)}, r"jitter = 8 is too much for a photo of 8 x 12"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(make, fields, says):
    with pytest.raises(UsageError, match=says):
        make().build({name: Field(shape, "uint8") for name, shape in fields.items()})


@pytest.mark.parametrize("wrong", [{"octaves": 0}, {"ratio": 1.0}, {"jitter": -1}])
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} = "):
        dream(**wrong)
