"""Reads weights saved by PyTorch, without PyTorch: a state dict in torch.save's format before version 1.6.

Such a file is a pickle, which may call any function. This reader only allows what a state dict consists of.
"""

import collections
import io
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.base import counted_files

# The magic number that a file of this format begins with.
_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1", "BoolStorage": "?",
}  # fmt: skip


class _Tensor(NamedTuple):
    """Where a tensor's numbers are: a storage, the index of its first element, and strides in elements."""

    storage: tuple[Any, ...]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load(path: Path) -> dict[str, np.ndarray]:
    """Returns the weights by Keras's names, in Keras's layouts; a module a.b becomes a/b.

    A convolution's [out, in, h, w] becomes [h, w, in, out]; if `in` is 1 it is taken for a depthwise one,
    [h, w, channels, 1]. A dense layer's [out, in] becomes [in, out]; so does an embedding, since a state dict does not
    tell them apart. A normalisation's weight, bias, running_mean and running_var become gamma, beta, moving_mean and
    moving_variance. Scalars are left out.

    Raises:
      ValueError: the file is of another kind, is cut off, or holds something other than tensors by name.
    """
    try:
        with counted_files.reader(path) as file:
            state = _read(file)
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, MemoryError, OverflowError) as error:
        raise ValueError(f"it is no state dict in torch's format before 1.6 ({error})") from error
    return dict(_as_in_keras(name, values, state) for name, values in state.items() if values.ndim)


class _Unpickler(pickle.Unpickler):
    """Allows three kinds of objects: ordered dicts, tensors, and the names of storage types."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *more: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"it wants {module}.{name}, which no state dict needs")

    def persistent_load(self, pid: tuple[Any, ...]) -> tuple[Any, ...]:
        return pid


def _read(file: io.BufferedReader) -> dict[str, np.ndarray]:
    if file.read(2) == b"PK":
        raise ValueError("torch's newer format is not read: save it with _use_new_zipfile_serialization=False")
    file.seek(0)
    if _Unpickler(file).load() != _MAGIC:
        raise pickle.UnpicklingError("another first number")
    for _ in ("the version of the format", "the sizes of C's types"):
        _Unpickler(file).load()
    state = _Unpickler(file).load()
    if not isinstance(state, dict) or not all(isinstance(value, _Tensor) for value in state.values()):
        raise pickle.UnpicklingError("not all it holds are tensors by name")
    types = {tensor.storage[2]: np.dtype(_DTYPES[tensor.storage[1]]) for tensor in state.values()}
    stored = {}
    for key in _Unpickler(file).load():  # in the order of the data that follows
        count = int.from_bytes(file.read(8), "little")
        stored[key] = np.empty(count, types[key])
        if file.readinto(stored[key].view(np.uint8).data) < stored[key].nbytes:
            raise EOFError("it is cut off")
    return {name: _array(stored[tensor.storage[2]], tensor) for name, tensor in state.items()}


def _array(stored: np.ndarray, tensor: _Tensor) -> np.ndarray:
    places = np.full(tensor.shape, tensor.offset)
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.strides, strict=True)):
        places += (stride * np.arange(size)).reshape([-1 if i == axis else 1 for i in range(len(tensor.shape))])
    array: np.ndarray = stored[places]
    return array


def _as_in_keras(name: str, values: np.ndarray, state: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    module, _, kind = name.rpartition(".")
    weight = state.get(f"{module}.weight")
    if weight is not None and weight.ndim == 1:
        kinds = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    else:
        kinds = {"weight": "kernel"}
    if values.ndim > 2:  # of a convolution: spatial dimensions come first in Keras
        places = tuple(range(2, values.ndim))
        values = values.transpose((*places, 0, 1) if values.shape[1] == 1 else (*places, 1, 0))
    elif values.ndim == 2:
        values = values.T
    return "/".join([*module.split("."), kinds.get(kind, kind)]), values
