"""Large arrays without Python's global lock: as tensors, and as bytes. Reads and writes no files.

While one thread holds the lock no other runs, and a worker sends no heartbeats. TensorFlow holds it while it copies an
array into a tensor, NumPy in `tobytes()`: a second or more for a GiB. NumPy's other copies and TensorFlow's ops do not.
"""

import numpy as np
import tensorflow as tf

# TensorFlow takes an array's memory as it is only if it begins at a multiple of this; NumPy's seldom does.
_ALIGNMENT = 64


def tensor(array: np.ndarray) -> tf.Tensor:
    """Returns the tensor that tf.convert_to_tensor makes of an array, on the host. Outside of graphs."""
    if array.dtype.hasobject:
        return tf.convert_to_tensor(array)
    memory = np.empty(array.nbytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    np.copyto(copy, array)
    # The op takes this memory, which nobody else has, without copying it; tf.convert_to_tensor would copy it twice.
    with tf.device("CPU:0"):
        return tf.raw_ops.Identity(input=copy)


def content(array: np.ndarray) -> bytes | memoryview:
    """Returns what `array.tobytes()` does, to be read only; not copied if the array is contiguous."""
    if array.dtype.hasobject:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
