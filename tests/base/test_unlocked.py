"""Arrays as tensors and as bytes: the same as TensorFlow and NumPy make, of any type and layout, with one copy at most."""

import zlib

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from trainer.base import unlocked

NUMBERS = np.random.default_rng(0).normal(scale=1e3, size=(64, 5))
DTYPES = [
    np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.complex64, np.int64, np.uint32, np.int8, np.bool_, ">f4",
]  # fmt: skip
LAYOUTS = [lambda a: a, lambda a: a.T, lambda a: a[::3, 1:], lambda a: a[:0], lambda a: a[3, 2]]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_array_becomes_what_tensorflow_and_numpy_make_of_it(dtype, layout):
    array = np.asarray(layout(NUMBERS.astype(dtype)))
    found, expected = unlocked.tensor(array), tf.convert_to_tensor(array)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.numpy().tobytes() == expected.numpy().tobytes()
    assert bytes(unlocked.content(array)) == array.tobytes()
    assert zlib.crc32(unlocked.content(array)) == zlib.crc32(array.tobytes())


@pytest.mark.parametrize("texts", [np.array("text"), np.array(["a", "bc"]), np.array([b"\xff", "bc"], object)])
def test_texts_do_as_well(texts):
    assert np.asarray(unlocked.tensor(texts)).tolist() == np.asarray(tf.convert_to_tensor(texts)).tolist()
    assert bytes(unlocked.content(texts)) == texts.tobytes()


def test_a_tensor_is_a_copy():
    array = np.arange(5)
    tensor = unlocked.tensor(array)
    array += 1
    assert tensor.numpy().tolist() == [0, 1, 2, 3, 4]


def test_tensorflow_copies_nothing_itself(monkeypatch):
    copies, copy = [], np.copyto
    monkeypatch.setattr(np, "copyto", lambda to, array: copies.append(to) or copy(to, array))
    tensors = [unlocked.tensor(np.arange(size)) for size in range(1, 1000, 100)]
    for tensor, memory in zip(tensors, copies, strict=True):
        assert np.shares_memory(np.asarray(tensor), memory)


def test_the_content_of_an_array_is_not_copied():
    array = np.arange(6).reshape(2, 3)
    assert np.shares_memory(np.frombuffer(unlocked.content(array), np.uint8), array)
