"""--mode=check: records what steps compute on one number of replicas; modes/comparison.py compares two such records.

The process with one replica is the reference: it trains a few steps and keeps the state before each. The other process
starts each step from that same state, so that single steps from equal weights are compared, and rounding errors cannot
grow. launch/replica_check.py starts the two processes.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.data.pipeline import Input
from trainer.modes.comparison import DRAWS
from trainer.modes.records import Experiment
from trainer.modes.state import TrainState
from trainer.step.dry_run import DryRun

_STEPS = 6


def run(experiment: Experiment) -> int:
    """Writes FOLDER/replicas_N.pkl for N replicas: losses, gradients, statistics and metrics, by step."""
    folder, replicas = Path(experiment.invocation.options["folder"]), experiment.replicas.strategy.num_replicas_in_sync
    experiment.device_loop.unfreeze()  # compare layers that are unfrozen later, too
    # Weights come from the reference, so all that differs by the global seed is randomness that a task took from there.
    keras.utils.set_random_seed(replicas)
    reference = folder / "states.pkl"
    record = _lead(experiment, reference) if replicas == 1 else _follow(experiment, reference)
    (folder / f"replicas_{replicas}.pkl").write_bytes(pickle.dumps(record))
    return 0


def _lead(experiment: Experiment, reference: Path) -> dict[Any, Any]:
    """Records the first steps and the epoch's last, whose batch may be short; keeps the states they start from."""
    device_loop, states = experiment.device_loop, {}
    record: dict[Any, Any] = {}  # by step, and by what else is recorded
    state, dry_run = TrainState(device_loop.state), DryRun(device_loop.train_step)
    last = experiment.examples.order.steps_per_epoch - 1
    for number in sorted({*range(_STEPS), last}):
        values = state.read() | {"step": np.asarray(number, np.int64)}
        states[number] = values
        record[number] = _record(experiment, dry_run, state, number, values)
        state.assign(values)
        device_loop.train(_input(experiment).open(number).take(1))
    record["repeated"] = _repeated(experiment, dry_run)
    record["compares_examples"] = device_loop.state.parts.compares_examples
    reference.write_bytes(pickle.dumps(states))
    return record


def _follow(experiment: Experiment, reference: Path) -> dict[str, Any]:
    state, dry_run = TrainState(experiment.device_loop.state), DryRun(experiment.device_loop.train_step)
    states = pickle.loads(reference.read_bytes())
    return {number: _record(experiment, dry_run, state, number, values) for number, values in states.items()}


def _record(
    experiment: Experiment, dry_run: DryRun, state: TrainState, number: int, values: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    state.assign(values)
    experiment.device_loop.state.reset_epoch()
    segment = next(_input(experiment).open(number).take(1))
    found = dry_run.first_step(segment)
    metrics = experiment.device_loop.read().metrics
    return found | {"metrics": {name: metrics[name] for name in experiment.device_loop.state.metrics}}


def _input(experiment: Experiment) -> Input:
    examples = experiment.examples
    return Input(examples.splits.train, examples.order, examples.layout, experiment.replicas.strategy)


def _repeated(experiment: Experiment, dry_run: DryRun) -> dict[str, dict[str, list[tuple[float, ...]]]]:
    """Losses of a shard, of the same shard with every example given twice, and with as much padding appended.

    The padding consists of copies, too, so batch statistics are the same in all three. And losses of its first half
    beside the second one, and beside itself.
    """
    segment = next(_input(experiment).open(0).take(1))
    batch = {name: tensor[int(segment.start)][0] for name, tensor in segment.block.items()}
    twice = {name: tf.concat([tensor, tensor], axis=0) for name, tensor in batch.items()}
    padded = twice | {"valid": tf.concat([batch["valid"], tf.zeros_like(batch["valid"])], axis=0)}
    batches = {"once": batch, "twice": twice, "padded": padded}
    if half := batch["valid"].shape[0] // 2:
        one, other = ({name: tensor[i * half : (i + 1) * half] for name, tensor in batch.items()} for i in (0, 1))
        for name, second in {"beside others": other, "beside itself": one}.items():
            batches[name] = {field: tf.concat([one[field], second[field]], axis=0) for field in one}
    return {name: dry_run.losses_of(examples, DRAWS) for name, examples in batches.items()}
