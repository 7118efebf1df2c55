"""The data sets that come with Keras, by name: keras.datasets.mnist, fashion_mnist, cifar10 …

Keras downloads a set once and keeps it in ~/.keras/datasets (or $KERAS_HOME/datasets).
"""

import importlib

from trainer.data.source import Splits
from trainer.data.sources.arrays import as_source
from trainer.errors import UsageError

NAMES = ("boston_housing", "california_housing", "cifar10", "cifar100", "fashion_mnist", "mnist")


def load(name: str, check_finite: bool = False) -> Splits:
    """Returns the train and test split of `keras.datasets.<name>`, with fields 'x' and 'y' as stored there.

    Raises:
      UsageError: there is no such set, or it is neither in Keras's folder nor can be downloaded.
    """
    if name not in NAMES:
        raise UsageError(f"keras.datasets has no '{name}' that is made of arrays; it has: {', '.join(NAMES)}")
    dataset = importlib.import_module(f"keras.datasets.{name}")
    try:
        train, test = dataset.load_data()
    except Exception as error:  # Keras wraps whatever the network or the file raised into a bare Exception.
        raise UsageError(
            f"keras.datasets.{name} is not in ~/.keras/datasets and could not be downloaded ({error}). "
            f"On a machine with a network run: python -c 'import keras; keras.datasets.{name}.load_data()' "
            f"and copy ~/.keras/datasets here, or choose other data: "
            f"gin/runs/mnist_small.gin trains on digits that come with a package"
        ) from error

    def flat(pair):  # cifar's labels come as [N, 1]
        x, y = pair
        return x, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y

    return Splits(
        train=as_source(flat(train), check_finite, f"{name} (train)"),
        test=as_source(flat(test), check_finite, f"{name} (test)"),
    )
