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
# By the name of a loss, for each draw of random numbers what DryRun.losses_of returns.
_Draws = Mapping[str, Sequence[tuple[float, float, float]]]


class Difference(NamedTuple):
    """A quantity, the largest relative difference found in it, where, and whether that is as it must be.

    explanation: why it is not, or what else there is to know; may be empty.
    """

    quantity: str
    worst: float
    where: str
    agrees: bool
    explanation: str = ""


_EXPLANATIONS = {
    "every example twice": "the mean loss changes with the number of examples in a batch: the task divides by the "
    "batch size itself, or mixes examples",
    "padding": "examples that are not valid count: multiply values and counts by batch['valid']",
    "losses": "random numbers that do not come from the layers or from `seed`, or arithmetic that depends on the "
    "replica",
}
_COMPARES = "the losses compare the examples of a shard with each other: depends on the size of a shard: fix SHARDS"


def compare(folder: Path, replicas: int) -> list[Difference]:
    """Compares the records of 1 and of `replicas` replicas in `folder`, quantity by quantity."""
    one, many = (pickle.loads((folder / f"replicas_{n}.pkl").read_bytes()) for n in (1, replicas))
    repeated, compares = one.pop("repeated"), one.pop("compares_examples")
    return [
        *(_compare(one, many, kind) for kind in ("losses", "gradients", "statistics", "metrics") if one[0][kind]),
        _compare_twice(repeated, compares),
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
    return worst if worst.agrees else worst._replace(explanation=_EXPLANATIONS.get(kind, ""))


def _compare_twice(repeated: Mapping[str, _Draws], compares: bool) -> Difference:
    """What giving every example twice changes, and whether that is because the losses compare examples.

    compares: whether the task says that they do.
    """
    found = _compare_repeated("every example twice", repeated["once"], repeated["twice"], 2.0)
    if found.agrees or _halved(repeated) or not _compares_examples(repeated):
        return found
    if compares:
        return found._replace(agrees=True, explanation=_COMPARES)
    meant = "and if that is meant, say so, with keras_loss.Contrastive or Parts(…, compares_examples=True)"
    return found._replace(explanation=f"{_COMPARES}, {meant}")


def _halved(repeated: Mapping[str, _Draws]) -> bool:
    """Whether a mean loss halves with every example twice: then the task divides by the batch size itself."""
    return any(
        _near(mean, 2 * other, abs(mean), error + 4 * other_error)
        and not _near(mean, other, abs(mean), error + other_error)
        for (mean, error), (other, other_error) in (
            (_mean(repeated["once"][name]), _mean(repeated["twice"][name])) for name in repeated["once"]
        )
    )


def _compares_examples(repeated: Mapping[str, _Draws]) -> bool:
    """Whether what half of a batch adds to a loss depends on which examples the other half holds."""
    if "beside others" not in repeated:  # a shard of one example
        return False
    return any(
        not abs(alone - among) <= _TOLERANCE * abs(among)  # true for NaN, too
        for name, draws in repeated["beside others"].items()
        for (*_, among), (*_, alone) in zip(draws, repeated["beside itself"][name], strict=True)
    )


def _compare_repeated(quantity: str, once: _Draws, again: _Draws, times: float) -> Difference:
    """Compares mean losses, up to rounding and the spread of random numbers, and counts."""

    def measured() -> Iterator[tuple[float, str, bool]]:
        for name in once:
            (mean, error), (other, other_error) = _mean(once[name]), _mean(again[name])
            difference, size = abs(other - mean), abs(mean)
            yield difference / size if size else difference, name, _near(mean, other, size, error + other_error)
            count, other_count = once[name][0][1], again[name][0][1]
            expected = times * count
            wrong = abs(other_count - expected) / (expected or 1.0)  # a shard may have none of what is counted
            yield wrong, f"the count of {name}", wrong <= _TOLERANCE

    relative, name, agrees = max(measured(), key=lambda found: (not found[2], found[0]))
    return Difference(quantity, relative, name, agrees, "" if agrees else _EXPLANATIONS[quantity])


def _mean(draws: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """The mean over the draws of a mean loss, and the square of its standard error."""
    means = [mean for mean, *_ in draws]
    return statistics.fmean(means), statistics.variance(means) / len(means)


def _near(a: float, b: float, size: float, squared_error: float) -> bool:
    """Whether two numbers differ by rounding and the spread of random numbers (five standard errors) alone."""
    return abs(a - b) <= _TOLERANCE * size + 5 * math.sqrt(squared_error)


def _norm(arrays: Iterable[np.ndarray | float]) -> float:
    return math.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays))
