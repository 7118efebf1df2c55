"""The steps of evaluation and prediction: every example of a split counts exactly once, on any number of replicas.

Actions are given this and never reach into the train step. Does not decide when to evaluate or where the numbers go.
"""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.data.global_permutation import GlobalPermutation
from trainer.data.pipeline import Batches, Input, Layout
from trainer.data.source import Field, Source
from trainer.distributed.collective_wait import CollectiveWait
from trainer.distributed.ranks import Ranks
from trainer.step.averaging import Average, NoAverage
from trainer.step.loss_sums import scalar
from trainer.step.metric_direction import Direction, better
from trainer.step.pace import Pace
from trainer.step.padding import whole_batch, without_padding
from trainer.step.variables import replicated
from trainer.tasks.protocol import Batch, Showing, Task


class Evaluator:
    """Evaluates a built task.

    Args:
      strategy: the process's only strategy.
      task: already built.
      average: its weights replace the models' own during an evaluation.
      sources: the splits that can be evaluated, by name.
      layout: how global batches are cut; does not change results beyond rounding, where losses compare no examples.
      collective_wait: counts this process's arrivals at the collective of each batch.
      ranks: of the strategy; None: this process alone.
      shown: the source whose first examples `samples` is given; None: the last of `sources`.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        task: Task,
        average: Average | NoAverage,
        sources: Mapping[str, Source],
        layout: Layout,
        collective_wait: CollectiveWait,
        ranks: Ranks | None = None,
        shown: Source | None = None,
    ):
        self._ranks = ranks or Ranks(strategy)
        self.sources, self._collective_wait, self._shown = sources, collective_wait, shown
        self._strategy, self._task, self._average, self._layout = strategy, task, average, layout
        with strategy.scope():
            self._metrics = dict(task.metrics())
        self._sums: dict[str, tuple[tf.Variable, tf.Variable]] = {}
        self._pace, self._compiled = Pace(), False
        self._run_block = tf.function(self._evaluate_block)
        self._run_step = tf.function(self._predict_step)
        self._showing = task if isinstance(task, Showing) else None
        self._run_samples = tf.function(self._show)

    def evaluate(self, split: str, should_stop: Callable[[], bool] = lambda: False) -> dict[str, float] | None:
        """Returns losses and metrics over the whole split; None if `should_stop` became true meanwhile, on any rank.

        A loss whose counts add up to 0 is NaN. A collective: every rank calls it, with the same split.
        """
        for metric in self._metrics.values():
            metric.reset_state()
        for pair in self._sums.values():
            for variable in pair:
                variable.assign(0)
        with self._average.in_place():
            batches, left = self._open(self.sources[split])
            steps, seconds = 0, 0.0
            while left:
                stop, slowest = self._ranks.largest([should_stop(), seconds])
                if stop:
                    return None
                self._pace.measured(steps, slowest)
                steps, started = min(left, self._pace.steps), time.monotonic()
                for segment in batches.take(steps):
                    self._run_block(*segment)
                if self._strategy.num_replicas_in_sync == 1:
                    self._collective_wait.passed(steps)
                seconds = time.monotonic() - started if self._compiled else 0.0
                self._compiled, left = True, left - steps
        sums = {name: (float(total.numpy()), float(count.numpy())) for name, (total, count) in self._sums.items()}
        losses = {name: total / count if count else math.nan for name, (total, count) in sums.items()}
        return losses | {name: float(scalar(name, metric.result())) for name, metric in self._metrics.items()}

    def predict(self, source: Source) -> dict[str, np.ndarray]:
        """Returns the outputs [examples, ...] by name, in the source's order; a single output is called 'output'."""
        parts: list[dict[str, np.ndarray]] = []
        with self._average.in_place():
            batches, steps = self._open(source)
            for segment in batches.take(steps):
                for i in range(int(segment.start), int(segment.stop)):
                    local = self._strategy.experimental_local_results(self._run_step(segment.block, tf.constant(i)))
                    for outputs, valid in local:
                        parts.append({name: value.numpy()[valid.numpy() > 0] for name, value in outputs.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def weights(self) -> contextlib.AbstractContextManager[None]:
        """Within this context the models hold the weights that are evaluated."""
        return self._average.in_place()

    @property
    def has_samples(self) -> bool:
        """Whether the task has anything to show."""
        return self._showing is not None

    def samples(self, count: int, seed: int) -> dict[str, np.ndarray]:
        """Returns what the task's `samples` makes of the first `count` examples. A collective: every rank calls it."""
        source = self._shown or list(self.sources.values())[-1]
        ids = tf.range(min(count, len(source)), dtype=tf.int64)
        batch = whole_batch(source.read(ids), ids)
        with self._average.in_place():
            shown = self._run_samples(batch, tf.constant([seed, 0]))
        return {name: value.numpy() for name, value in shown.items()}

    def graph(self, fields: Mapping[str, Field]) -> tf.Graph:
        """The graph of the task's inference on one example, for TensorBoard."""
        return tf.function(self._task.outputs).get_concrete_function(_one_example(fields)).graph

    def better(self, name: str) -> Direction | None:
        """Whether a smaller or a larger value of a metric is better; None if that is not known."""
        return better(self._metrics[name]) if name in self._metrics else None

    def names(self, split: str) -> list[str]:
        """The names of the losses and metrics that an evaluation of the split returns."""
        found: list[str] = []

        def note_names(batch: Batch) -> None:
            found.extend(self._task.evaluate(batch, self._task.outputs(batch)))

        tf.function(note_names).get_concrete_function(_one_example(self.sources[split].fields))
        return [*found, *self._metrics]

    def _open(self, source: Source) -> tuple[Batches, int]:
        order = GlobalPermutation(len(source), self._layout.batch_size)
        steps = order.steps_per_epoch
        return Input(source, order, self._layout, self._strategy).open(0, steps), steps

    def _evaluate_block(self, block: Batch, start: tf.Tensor, stop: tf.Tensor) -> None:
        for i in tf.range(start, stop):
            losses = self._strategy.run(self._evaluate_replica, args=(block, i))
            for name, (total, count) in losses.items():
                self._accumulate(name, self._reduce(total), self._reduce(count))

    def _reduce(self, value: tf.Tensor) -> tf.Tensor:
        return tf.cast(self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None), tf.float64)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _accumulate(self, name: str, total: tf.Tensor, count: tf.Tensor) -> None:
        if name not in self._sums:  # the task's names are known only once it is traced
            with tf.init_scope(), self._strategy.scope():
                self._sums[name] = (replicated(0.0, tf.float64), replicated(0.0, tf.float64))
        for variable, value in zip(self._sums[name], (total, count), strict=True):
            variable.assign_add(value)

    def _evaluate_replica(self, block: Batch, i: tf.Tensor) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
        """The sums of the losses and counts of a replica's shards."""
        shards = [
            self._evaluate_shard({name: tensor[i][slot] for name, tensor in block.items()})
            for slot in range(self._layout.slots)
        ]
        sums = {name: tuple(map(tf.add_n, zip(*(each[name] for each in shards), strict=True))) for name in shards[0]}
        if self._strategy.num_replicas_in_sync == 1:
            return sums
        arrived, _ = self._collective_wait.enter(tf.nest.flatten(sums))
        packed: dict[str, tuple[tf.Tensor, tf.Tensor]] = tf.nest.pack_sequence_as(sums, arrived)
        return packed

    def _evaluate_shard(self, shard: Batch) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
        # Without padding: a metric that is no weighted mean would count it, and layers would add its losses.
        batch = without_padding(shard)
        outputs = self._task.outputs(batch)
        self._update_metrics(batch, outputs)
        return {
            name: (
                tf.reduce_sum(loss.values) + loss.shared * tf.reduce_sum(loss.counts),
                tf.reduce_sum(loss.counts),
            )
            for name, loss in self._task.evaluate(batch, outputs).items()
        }

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _update_metrics(self, batch: Batch, outputs: Any) -> None:
        some = tf.reduce_any(batch["valid"] > 0)
        tf.cond(some, lambda: self._task.update(self._metrics, batch, outputs), lambda: None)

    def _show(self, batch: Batch, seed: tf.Tensor) -> Any:
        assert self._showing is not None
        shown = self._strategy.run(self._showing.samples, args=(batch, seed))
        return {name: _readable(self._strategy.experimental_local_results(value)[0]) for name, value in shown.items()}

    def _predict_step(self, block: Batch, i: tf.Tensor) -> Any:
        return self._strategy.run(self._predict_replica, args=(block, i))

    def _predict_replica(self, block: Batch, i: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        shard = self._layout.slots * self._layout.shard_size  # prediction compares no examples
        batch = {name: tf.reshape(t[i], (shard, *t.shape[3:])) for name, t in block.items()}
        outputs = self._task.outputs(batch)
        named = outputs if isinstance(outputs, Mapping) else {"output": outputs}
        return {name: _readable(value) for name, value in named.items()}, batch["valid"]


def _readable(value: tf.Tensor) -> tf.Tensor:
    """Numbers for people, as float32: NumPy has no bfloat16 of its own."""
    return tf.cast(value, tf.float32) if value.dtype in (tf.bfloat16, tf.float16) else value


def _one_example(fields: Mapping[str, Field]) -> dict[str, tf.TensorSpec]:
    """The signature of a batch of one example."""
    batch = {name: tf.TensorSpec((1, *field.shape), field.dtype, name) for name, field in fields.items()}
    dtypes = {"valid": tf.float32, "id": tf.int64, "global_valid": tf.float32}
    return batch | {name: tf.TensorSpec((1,), dtype, name) for name, dtype in dtypes.items()}
