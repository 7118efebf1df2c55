"""--mode=check: records what steps compute on one number of replicas, and compares two such records.

The record of one process is the reference: it trains a few steps and keeps the state before each. The other process
starts each step from that same state, so that what is compared are single steps from equal weights, and rounding
cannot grow. Starting the processes is launch/check.py's business.
"""

import math
import pickle
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer.data.pipeline import Input
from trainer.state import TrainState

if TYPE_CHECKING:
    from trainer.experiment import Experiment

_STEPS = 6
_DRAWS = 8
_TOLERANCE = 1e-5


def run(experiment: "Experiment") -> int:
    """Writes FOLDER/replicas_N.pkl: a record of each step, by its number."""
    folder, replicas = Path(experiment.invocation.options["folder"]), experiment.strategy.num_replicas_in_sync
    # The weights come from the reference. Whatever still follows the process's seed is a task's own random numbers.
    keras.utils.set_random_seed(replicas)
    reference = folder / "states.pkl"
    record = _lead(experiment, reference) if replicas == 1 else _follow(experiment, reference)
    (folder / f"replicas_{replicas}.pkl").write_bytes(pickle.dumps(record))
    return 0


def _lead(experiment: "Experiment", reference: Path) -> dict[str, Any]:
    """Records the first steps and the last of the epoch, whose batch may be short; keeps the states they start from."""
    step, state, states, record = experiment.step, TrainState(experiment.step), {}, {}
    last = experiment.order.steps_per_epoch - 1
    for number in sorted({*range(_STEPS), last}):
        values = state.read() | {"step": np.asarray(number, np.int64)}
        states[number] = values
        record[number] = _record(experiment, state, number, values)
        state.assign(values)
        step.train(_input(experiment).open(number).take(1))
    record["doubled"] = _doubled(experiment)
    reference.write_bytes(pickle.dumps(states))
    return record


def _follow(experiment: "Experiment", reference: Path) -> dict[str, Any]:
    state = TrainState(experiment.step)
    states = pickle.loads(reference.read_bytes())
    return {number: _record(experiment, state, number, values) for number, values in states.items()}


def _record(experiment: "Experiment", state: TrainState, number: int, values: Mapping[str, np.ndarray]):
    state.assign(values)
    experiment.step.reset_epoch()
    segment = next(_input(experiment).open(number).take(1))
    found = experiment.step.probe(segment)
    metrics = experiment.step.read().metrics
    return found | {"metrics": {name: metrics[name] for name in experiment.step.metrics}}


def _input(experiment: "Experiment") -> Input:
    return Input(experiment.splits.train, experiment.order, experiment.layout, experiment.strategy)


def _doubled(experiment: "Experiment") -> dict[str, list[list[float]]]:
    """Mean losses of some examples, and of the same examples all given twice, for several draws of random numbers."""
    segment = next(_input(experiment).open(0).take(1))
    batch = {name: tensor[int(segment.start)][0] for name, tensor in segment.block.items()}
    twice = {name: tf.concat([tensor, tensor], axis=0) for name, tensor in batch.items()}
    found: dict[str, list[list[float]]] = {}
    for which, examples in enumerate((batch, twice)):
        for draw in range(_DRAWS):
            for name, mean in experiment.step.mean_losses(examples, draw).items():
                found.setdefault(name, [[], []])[which].append(mean)
    return found


class Difference(NamedTuple):
    """A quantity, the worst relative difference found in it, where, and whether that is within tolerance."""

    quantity: str
    worst: float
    where: str
    agrees: bool


def compare(folder: Path, replicas: int) -> list[Difference]:
    """Compares the records of one and of `replicas` replicas, quantity by quantity."""
    one, many = (pickle.loads((folder / f"replicas_{n}.pkl").read_bytes()) for n in (1, replicas))
    doubled = one.pop("doubled")
    return [
        *(_compare(one, many, kind) for kind in ("losses", "gradients", "statistics", "metrics") if one[0][kind]),
        _compare_doubled(doubled),
    ]


def _compare(one: Mapping, many: Mapping, kind: str) -> Difference:
    """Relative to the norm over all tensors of the kind; the culprit named is the tensor that differs most."""
    worst = Difference(kind, 0.0, "", True)
    for number in one:
        a, b = one[number][kind], many[number][kind]
        norm = _norm(a.values())
        differences = {name: _norm([np.subtract(b[name], a[name])]) for name in a}
        relative = _norm(differences.values()) / norm if norm else _norm(differences.values())
        if not relative <= worst.worst:  # also when it is not a number
            culprit = max(differences, key=lambda name: differences[name])
            worst = Difference(kind, relative, f"step {number}, {culprit}", relative <= _TOLERANCE)
    return worst


def _compare_doubled(doubled: Mapping[str, list[list[float]]]) -> Difference:
    """Beyond rounding and beyond what draws of random numbers explain (five standard errors)."""

    def measured() -> Iterator[tuple[float, str, bool]]:
        for name, (once, twice) in doubled.items():
            difference = abs(statistics.fmean(twice) - statistics.fmean(once))
            size = abs(statistics.fmean(once))
            error = math.sqrt((statistics.variance(once) + statistics.variance(twice)) / _DRAWS)
            yield difference / size if size else difference, name, difference <= _TOLERANCE * size + 5 * error

    relative, name, agrees = max(measured(), key=lambda found: (not found[2], found[0]))
    return Difference("every example twice", relative, name, agrees)


def _norm(arrays) -> float:
    return math.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays))
