"""The tasks that have formulas of their own: each loss against a second computation of it, and what is refused."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.models import autoencoder, cars, dcgan
from trainer.tasks.ctc import Ctc
from trainer.tasks.gan import Gan
from trainer.tasks.multi_output import Head, MultiOutput
from trainer.tasks.vae import Vae

ADAM = lambda: keras.optimizers.Adam(1e-3)
VALID = tf.constant([1.0, 1.0, 0.0])


def images(n=3, side=8):
    x = np.random.default_rng(0).integers(0, 256, (n, side, side), dtype=np.uint8)
    return {"x": tf.constant(x), "valid": VALID[:n], "id": tf.range(n, dtype=tf.int64)}


def test_a_vae_adds_reconstruction_and_divergence_in_nats():
    task = Vae(lambda latent: autoencoder.encoder(latent, 4), lambda *of: autoencoder.decoder(*of, 4), ADAM, latent=3)
    task.build({"x": Field((8, 8), "uint8")})
    batch = images()
    losses, _ = task.losses(batch, tf.constant([1, 2]))
    x = batch["x"].numpy()[..., None] / 255.0
    code = task.encoder(x.astype(np.float32)).numpy()
    mean, variance = code[:, :3], np.exp(code[:, 3:])
    z = mean + np.sqrt(variance) * tf.random.stateless_normal((3, 3), [1, 2]).numpy()
    p = 1 / (1 + np.exp(-task.decoder(z.astype(np.float32)).numpy()))
    reconstruction = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=(1, 2, 3))
    divergence = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(axis=1)
    parts = {"loss": reconstruction + divergence, "reconstruction": reconstruction, "divergence": divergence}
    assert losses.keys() == parts.keys()
    for name, values in parts.items():
        np.testing.assert_allclose(losses[name].values, values * VALID.numpy(), rtol=1e-4, atol=1e-5)
    first, again = task.outputs(batch), task.outputs(batch)
    np.testing.assert_array_equal(first["reconstruction"], again["reconstruction"])
    shown = task.samples(batch, tf.constant([0, 0]))
    assert {name: tuple(value.shape) for name, value in shown.items()} == {
        "images/prior": (64, 8, 8, 1), "images/reconstructed": (3, 16, 8, 1), "images/plane": (256, 8, 8, 1),
    }  # fmt: skip


def gan(penalty=0.0):
    task = Gan(
        lambda *of: dcgan.generator(*of, filters=4), lambda shape: dcgan.discriminator(shape, filters=4, dropout=0.0),
        ADAM, ADAM, noise=5, penalty=penalty,
    )  # fmt: skip
    task.build({"x": Field((8, 8), "uint8")})
    return task


def test_a_gan_has_two_objectives_and_a_penalty_on_the_slope_at_real_images():
    batch, seed = images(), tf.constant([1, 2])
    keras.utils.set_random_seed(0)
    plain = gan()
    losses, outputs = plain.losses(batch, seed)
    softplus = lambda x: np.log1p(np.exp(x))
    real, made = outputs["real"].numpy(), outputs["made"].numpy()
    valid = VALID.numpy()
    np.testing.assert_allclose(losses["discriminator"].values, (softplus(-real) + softplus(made)) * valid, rtol=1e-4)
    np.testing.assert_allclose(losses["generator"].values, softplus(-made) * valid, rtol=1e-4)

    keras.utils.set_random_seed(0)
    task = gan(penalty=10.0)
    x = tf.constant(batch["x"].numpy()[..., None] / 127.5 - 1.0, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        judged = tf.reduce_sum(task.discriminator(x, training=True))
    slope = np.square(tape.gradient(judged, x).numpy()).sum(axis=(1, 2, 3))
    with tf.GradientTape() as outer:
        penalized = task.losses(batch, seed)[0]["discriminator"].values
    np.testing.assert_allclose(penalized.numpy() - losses["discriminator"].values, 5.0 * slope * valid, rtol=1e-3)
    # A derivative of a derivative: the penalty moves the discriminator's weights.
    with tf.GradientTape() as outer:
        total = tf.reduce_sum(task.losses(batch, seed)[0]["discriminator"].values)
    kernels = [v for v in task.discriminator.trainable_variables if v.name == "kernel"]
    moved = outer.gradient(total, [v.value for v in kernels])
    with tf.GradientTape() as outer:
        total = tf.reduce_sum(plain.losses(batch, seed)[0]["discriminator"].values)
    still = outer.gradient(total, [v.value for v in plain.discriminator.trainable_variables if v.name == "kernel"])
    assert all(not np.allclose(a, b, rtol=1e-2) for a, b in zip(moved, still, strict=True))


def test_a_gan_is_judged_with_the_penalties_on_its_weights():
    """As every other task is; the one on the slope is of training alone."""
    batch, task = images() | {"id": tf.range(tf.size(VALID), dtype=tf.int64)}, gan(penalty=10.0)
    for model in (task.generator, task.discriminator):
        layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
        layer.kernel.regularizer = keras.regularizers.L2(0.5)
    losses, found = task.losses(batch, tf.constant([1, 2]))[0], task.evaluate(batch, task.outputs(batch))
    for name in ("generator", "discriminator"):
        assert float(found[name].shared) == pytest.approx(float(losses[name].shared)) and float(found[name].shared) > 0


def test_ctc_counts_every_alignment():
    logits = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    task = Ctc(lambda: keras.Sequential([keras.layers.Identity()]), ADAM)
    task.build({"x": Field((4, 3), "float32"), "y": Field((2,), "int64", -1, 1)})
    strings = np.array([[0, 1], [1, -1]])
    batch = {"x": tf.constant(logits), "y": tf.constant(strings), "valid": tf.ones(2)}
    found = task.losses(batch, tf.constant([0, 0]))[0]["loss"].values.numpy()
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    for n, string in enumerate(([1, 2], [2])):
        total = 0.0
        for path in itertools.product(range(3), repeat=4):
            merged = [s for s, before in zip(path, (None, *path), strict=False) if s != before]
            if [s for s in merged if s] == string:
                total += np.prod([p[n, t, s] for t, s in enumerate(path)])
        assert found[n] == pytest.approx(-np.log(total), rel=1e-4)


def test_ctc_reads_without_repetitions_and_blanks():
    best = np.array([[0, 1, 1, 0, 1, 2], [2, 2, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    task = Ctc(lambda: keras.Sequential([keras.layers.Identity()]), ADAM)
    task.build({"x": Field((6, 3), "float32"), "y": Field((3,), "int64", -1, 1)})
    batch = {"x": tf.one_hot(best, 3), "y": tf.constant([[0, 0, 1], [1, -1, -1], [0, -1, -1]]), "valid": tf.ones(3)}
    outputs = task.outputs(batch)
    assert outputs["string"].numpy().tolist() == [[0, 0, 1, -1, -1, -1], [1, *[-1] * 5], [-1] * 6]
    metrics = task.metrics()
    task.update(metrics, batch, outputs)
    assert float(metrics["exact"].result()) == pytest.approx(2 / 3)


def test_several_outputs_are_weighed_and_judged_apart():
    fields = {
        "measures": Field((4,), "float32"), "make": Field((20,), "float32"), "distance": Field((1,), "float32"),
        "origin": Field((), "int64", 0, 2),
    }  # fmt: skip
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    heads = {
        "distance": lambda: Head("distance", keras.losses.MeanSquaredError, weight=0.5),
        "origin": lambda: Head("origin", crossentropy, weight=2.0, metrics=[keras.metrics.SparseCategoricalAccuracy]),
    }
    task = MultiOutput(cars.cars, ["measures", "make"], heads, ADAM)
    task.build(fields)
    rng = np.random.default_rng(0)
    batch = {
        "measures": tf.constant(rng.normal(size=(3, 4)), tf.float32), "make": tf.one_hot([1, 2, 3], 20),
        "distance": tf.constant([[1.0], [2.0], [3.0]]), "origin": tf.constant([0, 1, 2]), "valid": VALID,
    }  # fmt: skip
    losses, outputs = task.losses(batch, tf.constant([0, 0]))
    squared = np.square(outputs["distance"].numpy()[:, 0] - [1, 2, 3])
    logits = outputs["origin"].numpy()
    entropy = np.log(np.exp(logits).sum(axis=1)) - logits[[0, 1, 2], [0, 1, 2]]
    np.testing.assert_allclose(losses["loss"].values, (0.5 * squared + 2 * entropy) * VALID.numpy(), rtol=1e-4)
    np.testing.assert_allclose(losses["origin/loss"].values, entropy * VALID.numpy(), rtol=1e-4)
    assert losses.keys() == {"loss", "distance/loss", "origin/loss"}
    assert task.metrics().keys() == {"origin/sparse_categorical_accuracy"}
    with pytest.raises(UsageError, match="MultiOutput.heads are distance; the model puts out"):
        MultiOutput(cars.cars, ["measures", "make"], {"distance": heads["distance"]}, ADAM).build(fields)


@pytest.mark.parametrize("mask_zero, ignored", [(True, None), (False, 0)])
def test_outputs_of_which_some_tokens_do_not_count_are_refused(mask_zero, ignored):
    """Their divisors would be counted over all of the global batch, for each output apart."""
    embedded = keras.layers.Embedding(5, 4, mask_zero=mask_zero)(given := keras.Input((3,), name="words"))
    network = lambda: keras.Model({"words": given}, {"tags": keras.layers.Dense(2)(embedded)})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=ignored)
    task = MultiOutput(network, ["words"], {"tags": lambda: Head("tags", loss)}, ADAM)
    with pytest.raises(UsageError, match="of 'tags' some tokens count and others do not"):
        task.build({"words": Field((3,), "int64", 0, 3), "tags": Field((3,), "int64", 0, 1)})


def ctc(times=9, classes=3):
    return Ctc(lambda: keras.Sequential([keras.Input((times, classes)), keras.layers.Identity()]), ADAM)


def heads(**changes):
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    chosen = {
        "distance": lambda: Head("distance", keras.losses.MeanSquaredError),
        "origin": lambda: Head("origin", crossentropy),
    } | changes
    return MultiOutput(cars.cars, ["measures", "make"], chosen, ADAM)


CARS = {
    "measures": Field((4,), "float32"), "make": Field((20,), "float32"), "distance": Field((), "float32"),
    "origin": Field((), "int64", 0, 2),
}  # fmt: skip
BYTES = {"x": Field((8, 8), "uint8")}
GENERATOR, DISCRIMINATOR = (lambda *of: dcgan.generator(*of, filters=4), lambda of: dcgan.discriminator(of, filters=4))


@pytest.mark.parametrize(("make", "fields", "says"), [
    (lambda: Vae(lambda latent: autoencoder.encoder(2, 4), autoencoder.decoder, ADAM, latent=4), BYTES,
     r"the encoder puts out \[4\]: for Vae.latent = 4 it needs 8 numbers"),
    (lambda: Vae(autoencoder.encoder, autoencoder.decoder, ADAM), {"x": Field((8, 8), "float32")},
     r"as images of bytes, uint8 .*; the data has: 'x' float32 \[8, 8\]"),
    (lambda: Gan(GENERATOR, DISCRIMINATOR, ADAM, ADAM), {"x": Field((8,), "uint8")}, r"the data has: 'x' uint8 \[8\]"),
    (lambda: Gan(GENERATOR, DISCRIMINATOR, ADAM, ADAM, noise=0), BYTES, "Gan: noise = 0"),
    (lambda: Gan(GENERATOR, DISCRIMINATOR, ADAM, ADAM, penalty=-1.0), BYTES, "penalty = -1.0"),
    (lambda: Gan(GENERATOR, lambda of: keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)]), ADAM, ADAM),
     BYTES, r"the discriminator puts out \[10\]: it needs one logit"),
    (ctc, {"x": Field((9, 3), "float32"), "y": Field((2,), "float32")}, "'y' is float32 .*: a string is whole numbers"),
    (ctc, {"x": Field((9, 3), "float32"), "y": Field((2,), "int64", -5, 1)}, "'y' has a class -5"),
    (ctc, {"x": Field((9, 3), "float32"), "y": Field((2,), "int64", -1, 2)}, "'y' has classes to 2, the model 2"),
    (lambda: ctc(times=4), {"x": Field((4, 3), "float32"), "y": Field((3,), "int64", -1, 1)},
     "4 time steps for strings of 3 symbols: if all of them are equal, it needs 5"),
    (lambda: MultiOutput(cars.cars, ["measures", "make"], {}, ADAM), CARS, "MultiOutput.heads is empty"),
    (heads, CARS | {"origin": Field((), "int64", 0, 3)}, "labels 'origin' run from 0 to 3, but the model has 3 outputs"),
    (heads, CARS | {"distance": Field((2,), "float32")}, r"the target 'distance' has shape \[2\] .*needs \[1\]"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_before_the_first_step(make, fields, says):
    with pytest.raises(UsageError, match=says):
        make().build(fields)


def test_two_metrics_of_one_output_have_two_names():
    kinds = keras.metrics.MeanAbsoluteError, keras.metrics.MeanSquaredError
    metrics = [lambda kind=kind: kind(name="same") for kind in kinds]
    task = heads(distance=lambda: Head("distance", keras.losses.MeanSquaredError, metrics=metrics))
    with pytest.raises(UsageError, match="Head.metrics of 'distance' has two metrics called 'same'"):
        task.metrics()


def penalised():
    return keras.Sequential([keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5))])


def test_penalties_of_a_model_are_part_of_its_loss():
    model = penalised()
    task = Ctc(lambda: model, ADAM)
    task.build({"x": Field((9, 3), "float32"), "y": Field((2,), "int64", -1, 1)})
    batch = {"x": tf.zeros((1, 9, 3)), "y": tf.constant([[0, 1]]), "valid": tf.ones(1)}
    expected = 0.5 * np.square(model.layers[-1].kernel.numpy()).sum()
    assert float(task.losses(batch, tf.constant([0, 0]))[0]["loss"].shared) == pytest.approx(expected, rel=1e-5)
