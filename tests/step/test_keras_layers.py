"""Every layer of Keras with weights, state or random numbers: two devices come to what one does, or it is refused."""

import examples
import keras
import layers
import numpy as np
import pytest

from trainer.base.errors import UsageError

# One of each kind: moving statistics, masks within, several inputs, random pictures, state that is not moved, mixing.
SAMPLE = [
    "BatchNormalization",
    "Bidirectional",
    "CutMix",
    "MultiHeadAttention",
    "RandomRotation",
    "SpectralNormalization",
]
REFUSED = {"AugMix"}
# Without any of that, or bases of others; the last are of other frameworks, or work on text before training.
PLAIN = set(
    "Activation Add Average CategoryEncoding CenterCrop Concatenate Discretization Dot ELU Flatten Identity InputLayer "
    "InputSpec Lambda Layer LeakyReLU Masking MaxNumBoundingBoxes Maximum Minimum Multiply Permute Pipeline ReLU "
    "RepeatVector Rescaling Reshape Resizing Softmax Solarization Subtract UnitNormalization Wrapper Equalization "
    "AutoContrast ContrastLimitedAdaptiveHistogramEqualization MelSpectrogram STFTSpectrogram ActivityRegularization "
    "GRUCell LSTMCell SimpleRNNCell StackedRNNCells FlaxLayer JaxLayer TFSMLayer TorchModuleWrapper Hashing "
    "HashedCrossing IntegerLookup StringLookup TextVectorization".split()
)
SHAPES_ALONE = ("Pooling", "Pool1D", "Pool2D", "Pool3D", "Cropping", "UpSampling", "ZeroPadding", "Convolution")


@pytest.fixture(scope="module")
def trained(run_program, tmp_path_factory):
    """What tests/layers.py finds of some layers on one and on two devices."""
    folder = tmp_path_factory.mktemp("layers")

    def trained(names):
        for replicas in (1, 2):
            run_program(layers.__file__, replicas, folder / f"{replicas}.npz", *names)
        return [dict(np.load(folder / f"{replicas}.npz")) for replicas in (1, 2)]

    return trained


def test_every_layer_has_its_place_in_the_table():
    classes = set(examples.classes(keras.layers))
    plain = {name for name in classes if name in PLAIN or any(part in name for part in SHAPES_ALONE)}
    assert set(SAMPLE) <= layers.LAYERS.keys() <= classes
    assert classes - plain - REFUSED == set(layers.LAYERS), "say in tests/layers.py what a new layer is tried with"


@pytest.mark.process
@pytest.mark.parametrize(
    "names", [SAMPLE, pytest.param(sorted(layers.LAYERS), marks=pytest.mark.slow)], ids=["sample", "all"]
)
def test_two_devices_come_to_what_one_does(trained, names):
    one, two = trained(names)
    assert one.keys() == two.keys()
    for name in names:
        assert one[f"{name}/changed"] >= 2, f"{name}: nothing was trained"
    for key, value in one.items():
        scale = max(np.abs(value).max(), 1e-3) if value.size else 1.0
        np.testing.assert_allclose(two[key], value, rtol=0, atol=1e-5 * scale, err_msg=key)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_drawn_while_it_is_traced_is_refused(new_step, name):
    network = lambda: keras.Sequential([getattr(keras.layers, name)(), keras.layers.Flatten(), keras.layers.Dense(3)])
    data = {"x": layers.IMAGES, "y": np.arange(layers.N) % 3}
    with pytest.raises(UsageError, match="draws what it does while it is traced.*RandAugment"):
        new_step(examples.classifier(network), data)
