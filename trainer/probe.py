"""What a step would do, without doing it: the numbers that --mode=check compares. Compares nothing itself."""

import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainer import randomness
from trainer.data.pipeline import Segment
from trainer.freezing import active
from trainer.step import TrainStep, algorithm


class Probe:
    """Looks into a train step, on a plain graph."""

    def __init__(self, step: TrainStep):
        self._step = step
        shard, update = step.functions(xla=False)

        @functools.partial(tf.function, autograph=False)
        def reduced(block, i):
            with algorithm(xla=False):
                return step.strategy.run(step.reduced, args=(shard, update, block, i))

        self._reduced = reduced

    def first_step(self, segment: Segment) -> dict[str, dict[str, Any]]:
        """What the first step of a segment would do to the weights; only metrics move.

        gradients: by objective and variable path.  losses: by objective.  statistics: changes of the moving ones.
        """
        step, reduced = self._step, self._step.first(self._reduced(segment.block, segment.start))
        gradients = {
            f"{o.name}/{v.path}": g.numpy()
            for o in step.parts.objectives
            for v, g in zip(active(o), reduced["gradients"][o.name], strict=True)
        }
        losses = {name: (total / reduced["counts"][name]).numpy() for name, total in reduced["losses"].items()}
        moved = zip(step.statistics, reduced["moved"], strict=True)
        statistics = {v.path: (change / reduced["shards"]).numpy() for v, change in moved}
        return {"gradients": gradients, "losses": losses, "statistics": statistics}

    def losses_of(self, batch: Mapping[str, tf.Tensor], draws: int) -> dict[str, list[tuple[float, float]]]:
        """The training losses of a batch of any size, as one shard, with several draws of random numbers.

        Returns: by objective, for each draw the mean loss and the count it was divided by.
        """
        step = self._step

        def losses(draw):
            step.seed_layers(tf.constant(0, tf.int64), draw)
            found, _ = step.task.losses(batch, randomness.fold(step.seed, 0, draw, 0))
            counts = {name: tf.reduce_sum(loss.counts) for name, loss in found.items()}
            return {
                o.name: tf.stack(
                    [
                        tf.reduce_sum(found[o.name].values) / counts[o.name] + found[o.name].shared,
                        counts[o.name],
                    ]
                )
                for o in step.parts.objectives
            }

        one = tf.function(lambda draw: step.strategy.run(losses, args=(draw,)))
        found = [step.first(one(tf.constant(draw))) for draw in range(draws)]
        return {o.name: [tuple(each[o.name].numpy().tolist()) for each in found] for o in step.parts.objectives}
