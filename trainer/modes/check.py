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
from trainer.probe import Probe
from trainer.state import TrainState

if TYPE_CHECKING:
    from trainer.experiment import Experiment

_STEPS = 6
_DRAWS = 32
_TOLERANCE = 1e-5


def run(experiment: "Experiment") -> int:
    """Writes FOLDER/replicas_N.pkl: a record of each step, by its number."""
    folder, replicas = Path(experiment.invocation.options["folder"]), experiment.strategy.num_replicas_in_sync
    experiment.step.release()  # what is trained later is looked at, too
    # The weights come from the reference. Whatever still follows the process's seed is a task's own random numbers.
    keras.utils.set_random_seed(replicas)
    reference = folder / "states.pkl"
    record = _lead(experiment, reference) if replicas == 1 else _follow(experiment, reference)
    (folder / f"replicas_{replicas}.pkl").write_bytes(pickle.dumps(record))
    return 0


def _lead(experiment: "Experiment", reference: Path) -> dict[str, Any]:
    """Records the first steps and the last of the epoch, whose batch may be short; keeps the states they start from."""
    step, probe, states, record = experiment.step, Probe(experiment.step), {}, {}
    state = TrainState(step)
    last = experiment.order.steps_per_epoch - 1
    for number in sorted({*range(_STEPS), last}):
        values = state.read() | {"step": np.asarray(number, np.int64)}
        states[number] = values
        record[number] = _record(experiment, probe, state, number, values)
        state.assign(values)
        step.train(_input(experiment).open(number).take(1))
    record["repeated"] = _repeated(experiment, probe)
    reference.write_bytes(pickle.dumps(states))
    return record


def _follow(experiment: "Experiment", reference: Path) -> dict[str, Any]:
    state, probe = TrainState(experiment.step), Probe(experiment.step)
    states = pickle.loads(reference.read_bytes())
    return {number: _record(experiment, probe, state, number, values) for number, values in states.items()}


def _record(
    experiment: "Experiment", probe: Probe, state: TrainState, number: int, values: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    state.assign(values)
    experiment.step.reset_epoch()
    segment = next(_input(experiment).open(number).take(1))
    found = probe.first_step(segment)
    metrics = experiment.step.read().metrics
    return found | {"metrics": {name: metrics[name] for name in experiment.step.metrics}}


def _input(experiment: "Experiment") -> Input:
    return Input(experiment.splits.train, experiment.order, experiment.layout, experiment.strategy)


def _repeated(experiment: "Experiment", probe: Probe) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Losses of some examples; of the same all given twice; and of the same with as much padding behind them.

    Copies leave batch statistics as they are, whether they count or not.
    """
    segment = next(_input(experiment).open(0).take(1))
    batch = {name: tensor[int(segment.start)][0] for name, tensor in segment.block.items()}
    twice = {name: tf.concat([tensor, tensor], axis=0) for name, tensor in batch.items()}
    padded = twice | {"valid": tf.concat([batch["valid"], tf.zeros_like(batch["valid"])], axis=0)}
    batches = {"once": batch, "twice": twice, "padded": padded}
    return {name: probe.losses_of(examples, _DRAWS) for name, examples in batches.items()}


class Difference(NamedTuple):
    """A quantity, the worst relative difference found in it, where, and whether that is within tolerance."""

    quantity: str
    worst: float
    where: str
    agrees: bool


def compare(folder: Path, replicas: int) -> list[Difference]:
    """Compares the records of one and of `replicas` replicas, quantity by quantity."""
    one, many = (pickle.loads((folder / f"replicas_{n}.pkl").read_bytes()) for n in (1, replicas))
    repeated = one.pop("repeated")
    return [
        *(_compare(one, many, kind) for kind in ("losses", "gradients", "statistics", "metrics") if one[0][kind]),
        _compare_repeated("every example twice", repeated["once"], repeated["twice"], 2.0),
        _compare_repeated("padding", repeated["once"], repeated["padded"], 1.0),
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


def _compare_repeated(quantity: str, once: Mapping, again: Mapping, times: float) -> Difference:
    """Means beyond rounding and beyond what draws of random numbers explain (five standard errors), and counts."""

    def measured() -> Iterator[tuple[float, str, bool]]:
        for name in once:
            (means, counts), (others, other_counts) = (zip(*pairs, strict=True) for pairs in (once[name], again[name]))
            difference, size = abs(statistics.fmean(others) - statistics.fmean(means)), abs(statistics.fmean(means))
            error = math.sqrt((statistics.variance(means) + statistics.variance(others)) / _DRAWS)
            yield difference / size if size else difference, name, difference <= _TOLERANCE * size + 5 * error
            expected = times * counts[0]
            wrong = abs(other_counts[0] - expected) / expected
            yield wrong, f"the count of {name}", wrong <= _TOLERANCE

    relative, name, agrees = max(measured(), key=lambda found: (not found[2], found[0]))
    return Difference(quantity, relative, name, agrees)


def _norm(arrays) -> float:
    return math.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays))
