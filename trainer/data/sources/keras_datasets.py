"""The data sets that come with Keras, by name: keras.datasets.mnist, fashion_mnist, cifar10 …

Keras downloads a data set once and keeps it in ~/.keras/datasets (or $KERAS_HOME/datasets). An existing .npz file is
used as it is: Keras itself would compare its checksum and download it again, which needs a network.
"""

import os
from pathlib import Path

import keras
import numpy as np

from trainer.base.errors import UsageError
from trainer.data.source import Splits
from trainer.data.sources.arrays import as_source, load_npz

NAMES = ("boston_housing", "california_housing", "cifar10", "cifar100", "fashion_mnist", "mnist")
_Pair = tuple[np.ndarray, np.ndarray]  # x and y


def load(name: str, check_finite: bool = False) -> Splits:
    """Returns the train and test split of `keras.datasets.<name>`, with fields 'x' and 'y' as stored there.

    Args:
      name: one of NAMES.
      check_finite: refuse NaN and infinity.

    Raises:
      UsageError: no such data set, it is not in Keras's folder and cannot be downloaded, or an array is missing.
    """
    if name not in NAMES:
        raise UsageError(f"keras.datasets has no '{name}' that is made of arrays; it has: {', '.join(NAMES)}")
    cached = _folder() / f"{name}.npz"
    if cached.exists() and "x_train" in (arrays := load_npz(str(cached))):
        for key in ("y_train", "x_test", "y_test"):
            if key not in arrays:
                raise UsageError(f"{cached} has no array '{key}': remove it, and Keras will download the set again")
        train, test = ((arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in ("train", "test"))
    else:
        train, test = _download(name)

    def flat(pair: _Pair) -> _Pair:  # cifar's labels come as [N, 1]
        x, y = pair
        return x, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y

    return Splits(
        train=as_source(flat(train), check_finite, f"{name} (train)"),
        test=as_source(flat(test), check_finite, f"{name} (test)"),
    )


def _folder() -> Path:
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets"


def _download(name: str) -> tuple[_Pair, _Pair]:
    dataset = getattr(keras.datasets, name)
    try:
        loaded: tuple[_Pair, _Pair] = dataset.load_data()
        return loaded
    except Exception as error:  # Keras wraps whatever the network or the file raised into a bare Exception.
        raise UsageError(
            f"keras.datasets.{name} is not in {_folder()} and could not be downloaded ({error}). On a machine with a "
            f"network run: python -c 'import keras; keras.datasets.{name}.load_data()', and copy its ~/.keras/datasets "
            f"to {_folder()}; or choose other data: gin/runs/mnist_small.gin trains on digits that come with a package"
        ) from error
