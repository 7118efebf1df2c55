"""The scale of numbers, which they are standardised by."""

import numpy as np


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the means and the deviations over the first axis of float64 [n, …].

    A deviation is 1 where there is none: the values are equal, but for what is rounding.
    """
    spread, largest = np.ptp(values, axis=0), np.abs(values).max(axis=0)
    deviation = values.std(axis=0)
    # Not by the deviation: since the mean is rounded, that of three times 0.1 is 1.4e-17.
    none = (spread <= 16 * np.finfo(np.float64).eps * largest) | (deviation == 0)
    return values.mean(axis=0), np.where(none, 1.0, deviation)
