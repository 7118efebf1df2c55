"""The input pipeline alone against the step that it feeds: the first program's MLP, shuffled, batch 32.

    python -m benchmarks.input [--rounds=5]

In one process, in turn: blocks are only taken from the pipeline, then they are trained on.
"""

import argparse
import functools
import statistics
import sys
import time

import keras
import tensorflow as tf

from benchmarks import digits
from trainer.data.global_permutation import GlobalPermutation
from trainer.data.pipeline import Input, Layout
from trainer.distributed.collective_wait import CollectiveWait
from trainer.models.mlp import mlp
from trainer.step.arithmetic import Arithmetic
from trainer.step.device_loop import DeviceLoop
from trainer.step.step_state import StepState
from trainer.step.train_step import TrainStep
from trainer.tasks.supervised import Supervised

_BATCH_SIZE = 32
_STEPS = 1875


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    source, strategy, layout = digits.splits().train, tf.distribute.get_strategy(), Layout(_BATCH_SIZE, 1, 1)
    loss = functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=True)
    task = Supervised(functools.partial(mlp, scale=1 / 255), loss, keras.optimizers.Adam)
    choices = Arithmetic()
    state = StepState(strategy, task, source.fields, choices, 0)
    loop = DeviceLoop(TrainStep(strategy, state, layout, 0, choices, CollectiveWait(1)))
    batches = Input(source, GlobalPermutation(len(source), _BATCH_SIZE, 0), layout, strategy).open(0)

    def drain() -> None:
        for _ in batches.take(_STEPS):
            pass

    sides = {"input": drain, "step": lambda: loop.train(batches.take(_STEPS))}
    for run in sides.values():
        run()
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            started = time.perf_counter()
            run()
            rates[side].append(_STEPS * _BATCH_SIZE / (time.perf_counter() - started))
    for side, found in rates.items():
        print(f"{side:<6} {statistics.median(found):>10,.0f} examples/s ({min(found):,.0f} to {max(found):,.0f})")
    print(f"input / step = {statistics.median(rates['input']) / statistics.median(rates['step']):.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
