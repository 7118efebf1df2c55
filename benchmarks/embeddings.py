"""A large table of embeddings of which each step sees few rows: one shard, four shards, and Keras's `fit`.

    python -m benchmarks.embeddings [--rows=1000000] [--rounds=5]

The same model on each side, with Adam: a table of ROWS x 64, averaged over 20 words, and a Dense layer; a batch of 128.
All sides live in this process and take turns; none includes compilation. Their losses must fall alike.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from trainer.data.global_permutation import GlobalPermutation
from trainer.data.pipeline import Input, Layout
from trainer.data.sources.arrays import Arrays
from trainer.distributed.collective_wait import CollectiveWait
from trainer.step.arithmetic import Arithmetic
from trainer.step.device_loop import DeviceLoop
from trainer.step.step_state import StepState
from trainer.step.train_step import TrainStep
from trainer.tasks.supervised import Supervised

BATCH_SIZE, STEPS = 128, 6
LOSS = keras.losses.BinaryCrossentropy(from_logits=True)


def model(rows: int) -> keras.Model:
    """The model of all sides, with the same weights each time."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((20,), dtype="int64"),
            layers.Embedding(rows, 64),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1),
        ]
    )


def examples(rows: int) -> dict[str, np.ndarray]:
    """Random words and labels."""
    rng = np.random.default_rng(0)
    n = BATCH_SIZE * STEPS
    return {"x": rng.integers(0, rows, (n, 20)), "y": rng.integers(0, 2, (n, 1)).astype(np.float32)}


def convoy(rows: int, shards: int) -> Callable[[], float]:
    """A function that trains an epoch of STEPS steps and returns its mean loss."""
    choices = Arithmetic(shards=shards, xla=False)
    source, strategy = Arrays(examples(rows)), tf.distribute.get_strategy()
    layout = Layout(BATCH_SIZE, shards, 1)
    state = StepState(strategy, Supervised(lambda: model(rows), LOSS, keras.optimizers.Adam), source.fields, choices, 0)
    loop = DeviceLoop(TrainStep(strategy, state, layout, 0, choices, CollectiveWait(1)))
    batches = Input(source, GlobalPermutation(len(source), BATCH_SIZE, None), layout, strategy).open(0)

    def epoch() -> float:
        loop.train(batches.take(STEPS))
        total, count = loop.read().losses["loss"]
        return total / count

    return epoch


def fit(rows: int) -> Callable[[], float]:
    """The same with Keras."""
    network, data = model(rows), examples(rows)
    network.compile(keras.optimizers.Adam(), LOSS)
    batches = tf.data.Dataset.from_tensor_slices((data["x"], data["y"])).batch(BATCH_SIZE)
    return lambda: float(network.fit(batches, verbose=0).history["loss"][0])


def main() -> None:
    """Prints the seconds per step of each side, median and spread, and its last loss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sides = {
        "one shard": convoy(options.rows, 1), "four shards": convoy(options.rows, 4), "fit": fit(options.rows)
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    losses = {name: epoch() for name, epoch in sides.items()}  # compiles
    for _ in range(options.rounds):
        for name, epoch in sides.items():
            begun = time.perf_counter()
            losses[name] = epoch()
            seconds[name].append((time.perf_counter() - begun) / STEPS)
    for name, found in seconds.items():
        spread = f"{min(found):.2f} to {max(found):.2f}"
        print(f"{name:<12} {statistics.median(found):.2f} s per step ({spread})  loss {losses[name]:.5f}")


if __name__ == "__main__":
    main()
