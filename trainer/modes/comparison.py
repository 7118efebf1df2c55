"""Compares what steps computed on one replica and on several: the verdict of --mode=check.

Pure functions of the records that modes/check.py writes.
"""

import math
import pickle
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

# How often the losses are computed with new random numbers, to measure how much these alone change them.
DRAWS = 32
_TOLERANCE = 1e-5

# What modes/check.py has recorded: by step, kind and name.
_Records = Mapping[int, Mapping[str, Mapping[str, np.ndarray | float]]]
# By objective, for each draw the mean loss and the count.
_Draws = Mapping[str, Sequence[tuple[float, float]]]


class Difference(NamedTuple):
    """A quantity, the largest relative difference found in it, where, and whether that is within tolerance."""

    quantity: str
    worst: float
    where: str
    agrees: bool


def compare(folder: Path, replicas: int) -> list[Difference]:
    """Compares the records of 1 and of `replicas` replicas in `folder`, quantity by quantity."""
    one, many = (pickle.loads((folder / f"replicas_{n}.pkl").read_bytes()) for n in (1, replicas))
    repeated = one.pop("repeated")
    return [
        *(_compare(one, many, kind) for kind in ("losses", "gradients", "statistics", "metrics") if one[0][kind]),
        _compare_repeated("every example twice", repeated["once"], repeated["twice"], 2.0),
        _compare_repeated("padding", repeated["once"], repeated["padded"], 1.0),
    ]


def _compare(one: _Records, many: _Records, kind: str) -> Difference:
    """The largest difference over all steps, relative to the norm over all tensors of the kind.

    `where` names the tensor that differs most.
    """
    worst = Difference(kind, 0.0, "", True)
    for number in one:
        a, b = one[number][kind], many[number][kind]
        norm = _norm(a.values())
        differences = {name: _norm([np.subtract(b[name], a[name])]) for name in a}
        relative = _norm(differences.values()) / norm if norm else _norm(differences.values())
        if not relative <= worst.worst:  # true for NaN, too
            culprit = max(differences, key=lambda name: differences[name])
            worst = Difference(kind, relative, f"step {number}, {culprit}", relative <= _TOLERANCE)
    return worst


def _compare_repeated(quantity: str, once: _Draws, again: _Draws, times: float) -> Difference:
    """Compares mean losses, up to rounding and the spread of random numbers (five standard errors), and counts."""

    def measured() -> Iterator[tuple[float, str, bool]]:
        for name in once:
            (means, counts), (others, other_counts) = (zip(*pairs, strict=True) for pairs in (once[name], again[name]))
            difference, size = abs(statistics.fmean(others) - statistics.fmean(means)), abs(statistics.fmean(means))
            error = math.sqrt((statistics.variance(means) + statistics.variance(others)) / DRAWS)
            yield difference / size if size else difference, name, difference <= _TOLERANCE * size + 5 * error
            expected = times * counts[0]
            wrong = abs(other_counts[0] - expected) / expected
            yield wrong, f"the count of {name}", wrong <= _TOLERANCE

    relative, name, agrees = max(measured(), key=lambda found: (not found[2], found[0]))
    return Difference(quantity, relative, name, agrees)


def _norm(arrays: Iterable[np.ndarray | float]) -> float:
    return math.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays))
