"""VGG16: what it does with a picture, and that its weights have the names of the file that run files take them from."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models.vgg16 import Vgg16

CONVOLUTIONS = {"block1": 2, "block2": 2, "block3": 3, "block4": 3, "block5": 3}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    return Vgg16()


def test_every_convolution_is_a_layer_with_its_own_size(network):
    found = network(tf.zeros((2, 48, 32, 3)))
    names = [f"{block}_conv{i + 1}" for block, count in CONVOLUTIONS.items() for i in range(count)]
    assert list(found) == names
    sizes = {1: (48, 32, 64), 2: (24, 16, 128), 3: (12, 8, 256), 4: (6, 4, 512), 5: (3, 2, 512)}
    assert {name: values.shape for name, values in found.items()} == {n: (2, *sizes[int(n[5])]) for n in names}


def test_pixels_are_blue_green_red_around_the_means_of_imagenet(network):
    """The first convolution is made to show what it sees: one channel a filter, both signs."""
    kernel = np.zeros((3, 3, 3, 64), np.float32)
    for channel in range(3):
        kernel[1, 1, channel, [channel, 3 + channel]] = 1.0, -1.0
    first = network.block1.layers[0]
    kept, shown = first.get_weights(), [kernel, np.zeros(64, np.float32)]
    first.set_weights(shown)
    seen = network(tf.constant([[[[1.0, 2.0, 3.0]]]] * 2))["block1_conv1"][0, 0, 0].numpy()
    first.set_weights(kept)
    np.testing.assert_allclose(seen[:3] - seen[3:6], [3 - 103.939, 2 - 116.779, 1 - 123.68], rtol=1e-5)


def test_each_block_starts_with_half_of_the_one_before(network):
    images = tf.constant(np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype(np.float32))
    found = network(images)
    again = network.block2.layers[0](tf.nn.max_pool2d(found["block1_conv2"], 2, 2, "VALID"))
    np.testing.assert_allclose(found["block2_conv1"], again, rtol=1e-4, atol=1e-5)


def test_weights_have_the_names_of_the_package_that_brings_them(network, tmp_path):
    network.save_weights(tmp_path / "vgg16.weights.h5")
    shapes = {}
    with h5py.File(tmp_path / "vgg16.weights.h5") as file:
        file.visititems(lambda name, item: shapes.update({name: item.shape} if isinstance(item, h5py.Dataset) else {}))
    expected = {
        f"{block}/layers/conv2d{f'_{i}' if i else ''}/vars/{k}"
        for block, count in CONVOLUTIONS.items()
        for i in range(count)
        for k in (0, 1)
    }
    assert shapes.keys() == expected
    assert shapes["block3/layers/conv2d/vars/0"] == (3, 3, 128, 256)
