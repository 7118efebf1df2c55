"""What a step computes, without applying it: the numbers that --mode=check compares. Compares nothing itself."""

import functools
from typing import Any

import tensorflow as tf

from trainer.base import randomness
from trainer.base.variable_paths import by_path
from trainer.data.pipeline import Segment
from trainer.step.device_loop import random_algorithm, shard_functions
from trainer.step.freezing import active
from trainer.step.padding import without_padding
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
        self._one_draw = tf.function(lambda *of: train_step.strategy.run(self._of_one_draw, args=of))

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
        losses = {name: tf.math.divide_no_nan(total, sums.counts[name]).numpy() for name, total in sums.losses.items()}
        changes = zip(
            by_path(self._state.layers.statistics), self._state.layers.mean(sums.statistics, sums.shards), strict=True
        )
        statistics = {path: change.numpy() for path, change in changes}
        return {"gradients": gradients, "losses": losses, "statistics": statistics}

    def losses_of(self, batch: Batch, draws: int) -> dict[str, list[tuple[float, ...]]]:
        """Returns what a task's `losses` gives for a batch of any size, as one shard, with `draws` random draws.

        A draw gives the same random numbers to each batch of the same size.

        Returns: by name, for each draw the mean; the count it was divided by; and the sum of what the first half of the
        examples and what belongs to no example add to it.
        """
        by_draw = [self._train_step.first(self._one_draw(batch, tf.constant(draw))) for draw in range(draws)]
        return {name: [tuple(each[name].numpy().tolist()) for each in by_draw] for name in by_draw[0]}

    def _of_one_draw(self, batch: Batch, draw: tf.Tensor) -> dict[str, tf.Tensor]:
        """The numbers that `losses_of` returns of one draw, float32 [3], by name."""
        state = self._state
        state.layers.seed(tf.constant(0, tf.int64), draw)
        seen = without_padding(batch) if self._train_step.drops_padding else batch
        found, _ = state.task.losses(seen, randomness.fold(self._train_step.seed, 0, draw, 0))
        counts = {name: tf.reduce_sum(loss.counts) for name, loss in found.items()}
        half = tf.shape(seen["valid"])[0] // 2
        return {
            name: tf.stack(
                [
                    tf.math.divide_no_nan(tf.reduce_sum(loss.values), counts[name]) + loss.shared,
                    counts[name],
                    tf.reduce_sum(loss.values[:half]) + loss.shared,
                ]
            )
            for name, loss in found.items()
        }
