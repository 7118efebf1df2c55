"""What a step computes, without applying it: the numbers that --mode=check compares. Compares nothing itself."""

import functools
from typing import Any

import tensorflow as tf

from trainer.base import randomness
from trainer.base.variable_paths import by_path
from trainer.data.pipeline import Segment
from trainer.step.device_loop import random_algorithm, shard_functions
from trainer.step.freezing import active
from trainer.step.train_step import TrainStep
from trainer.tasks.protocol import Batch


class DryRun:
    """Runs a train step up to its optimizer, on a plain graph.

    Args:
      train_step: the step to look into.
    """

    def __init__(self, train_step: TrainStep):
        self._train_step, self._state = train_step, train_step.state
        functions = shard_functions(train_step, xla=False)

        @functools.partial(tf.function, autograph=False)
        def on_a_plain_graph(block: Batch, i: tf.Tensor) -> Any:
            with random_algorithm(xla=False):
                return train_step.strategy.run(train_step.mean_gradients, args=(functions, block, i))

        self._mean_gradients = on_a_plain_graph

    def first_step(self, segment: Segment) -> dict[str, dict[str, Any]]:
        """Returns what the first step of a segment computes; nothing but the metrics is updated.

        gradients: by '<objective>/<variable path>'.  losses: by objective, means.  statistics: by variable path, the
        change of each moving statistic.
        """
        sums, means, _ = self._train_step.first(self._mean_gradients(segment.block, segment.start))
        gradients = {
            f"{o.name}/{path}": g.numpy()
            for o in self._state.parts.objectives
            for path, g in zip(by_path(active(o)), means[o.name], strict=True)
        }
        losses = {name: (total / sums.counts[name]).numpy() for name, total in sums.losses.items()}
        changes = zip(by_path(self._state.layers.statistics), sums.statistics, strict=True)
        statistics = {path: (change / sums.shards).numpy() for path, change in changes}
        return {"gradients": gradients, "losses": losses, "statistics": statistics}

    def losses_of(self, batch: Batch, draws: int) -> dict[str, list[tuple[float, float]]]:
        """Returns the training losses of a batch of any size, taken as one shard, for `draws` draws of random numbers.

        Returns: by objective, for each draw the mean loss and the count it was divided by.
        """
        state, seed = self._state, self._train_step.seed

        def of_one_draw(draw: tf.Tensor) -> dict[str, tf.Tensor]:
            state.layers.seed(tf.constant(0, tf.int64), draw)
            found, _ = state.task.losses(batch, randomness.fold(seed, 0, draw, 0))
            counts = {name: tf.reduce_sum(loss.counts) for name, loss in found.items()}
            return {
                o.name: tf.stack(
                    [
                        tf.reduce_sum(found[o.name].values) / counts[o.name] + found[o.name].shared,
                        counts[o.name],
                    ]
                )
                for o in state.parts.objectives
            }

        one = tf.function(lambda draw: self._train_step.strategy.run(of_one_draw, args=(draw,)))
        by_draw = [self._train_step.first(one(tf.constant(draw))) for draw in range(draws)]
        return {o.name: [tuple(each[o.name].numpy().tolist()) for each in by_draw] for o in state.parts.objectives}
