"""Means and standard deviations, for standardising numbers. Standardises nothing itself."""

import numpy as np


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the means and standard deviations of `values`, float64 [n, …], over the first axis: float64 […] each.

    Where all values are equal up to rounding, the deviation returned is 1.
    """
    spread, largest = np.ptp(values, axis=0), np.abs(values).max(axis=0)
    deviation = values.std(axis=0)
    # A deviation of equal values need not be 0, because the mean is rounded: that of three times 0.1 is 1.4e-17.
    none = (spread <= 16 * np.finfo(np.float64).eps * largest) | (deviation == 0)
    return values.mean(axis=0), np.where(none, 1.0, deviation)
