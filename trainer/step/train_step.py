"""One training step, from a replica's part of a global batch to new weights, in the order of its arithmetic.

    1  in each replica    forward and backward of each of its shards, divided by the static batch size; their sum
    2                     reduce: gradients, losses, counts, statistics and digest, over all replicas
    3                     divide by the global count -> unscale -> finite?
    4  across replicas    where finite: statistics, clip -> optimizer -> average of the weights
                          loss scale, digest, step

The methods of TrainStep stand in this order, and __call__, which is the whole step, after them. Knows nothing of where
batches come from, how the step is compiled, when to stop, evaluate or save.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.base import randomness
from trainer.data import digest
from trainer.data.pipeline import Layout
from trainer.distributed.collective_wait import CollectiveWait
from trainer.step.arithmetic import Arithmetic
from trainer.step.freezing import active
from trainer.step.padding import without_padding
from trainer.step.reduction import Reduction
from trainer.step.step_state import StepState
from trainer.tasks.protocol import Batch, Objective

# The gradients of each objective: one for each variable that it trains now, of the variable's shape and dtype. Those of
# tables of embeddings are of a few rows, until all shards' are known.
Gradients = Mapping[str, list[tf.Tensor | tf.IndexedSlices]]


class ShardResults(NamedTuple):
    """Forward and backward of one shard. gradients, losses, counts: as in Sums, times the loss scale (gradients alone).

    outputs: of the task, for its metrics.
    """

    gradients: Gradients
    losses: dict[str, tf.Tensor]
    counts: dict[str, tf.Tensor]
    outputs: Any


class ShardFunctions(NamedTuple):
    """The parts of a step that need no other replica, each compiled separately.

    gradients: TrainStep.shard_gradients.  update_metrics: called with a shard and the task's outputs for it.
    """

    gradients: Callable[[Batch, tf.Tensor], ShardResults]
    update_metrics: Callable[[Batch, Any], None]


class Sums(NamedTuple):
    """Sums over shards, and then over replicas.

    counts: of each of `losses`, float32 []: its divisor, divided by the static batch size.
    digest: int64 []: of the examples, see trainer.data.digest.
    gradients: of the losses below, times the loss scale.
    losses: by objective, and by the names of what is shown beside them, float32 []: divided by the static batch size.
    statistics: the change of each moving statistic, of its shape and dtype.
    shards: float32 []: how many shards contribute statistics.
    """

    counts: dict[str, tf.Tensor]
    digest: tf.Tensor
    gradients: Gradients
    losses: dict[str, tf.Tensor]
    statistics: list[tf.Tensor]
    shards: tf.Tensor


class TrainStep:
    """The training step of one task on one strategy.

    Args:
      strategy: the process's only strategy; it has `layout.replicas` replicas.
      state: what the step changes.
      layout: how a global batch is cut into shards.
      seed: of everything random in the step.
      arithmetic: the settings that determine the numbers.
      collective_wait: counts this process's arrivals at the step's collective.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        state: StepState,
        layout: Layout,
        seed: int,
        arithmetic: Arithmetic,
        collective_wait: CollectiveWait,
    ):
        self.strategy, self.state, self.layout = strategy, state, layout
        self.seed, self.arithmetic, self.collective_wait = seed, arithmetic, collective_wait
        self._reduction = Reduction(collective_wait)
        self._nan_after: int | None = None
        # Whether a loss sees more than one example at a time: then it must see no padding. The trial may set it.
        self.drops_padding = state.parts.compares_examples

    def inject_nan(self, step: int) -> None:
        """Makes the gradients of the step after `step` NaN. Call it before anything is compiled."""
        self._nan_after = step

    # 1. Forward and backward, in replica context.

    def shard_gradients(
        self, shard: Batch, seed: tf.Tensor, unconnected: tf.UnconnectedGradients = tf.UnconnectedGradients.ZERO
    ) -> ShardResults:
        """Forward and backward of a shard, fields [shard_size, …]; needs no other shard, so XLA may compile it.

        Args:
          shard: the examples.
          seed: int32 [2], where the task's random numbers come from.
          unconnected: what stands for the gradients of variables that a loss does not depend on.
        """
        objectives, scale = self.state.parts.objectives, self.state.loss_scale
        size = tf.constant(self.layout.batch_size, tf.float32)  # keeps sums in range; dividing by the counts removes it
        with tf.GradientTape(persistent=len(objectives) > 1) as tape:
            found, outputs = self.state.task.losses(shard, seed)
            counts = {name: tf.reduce_sum(loss.counts) / size for name, loss in found.items()}
            losses = {
                name: tf.reduce_sum(loss.values) / size + loss.shared * counts[name] for name, loss in found.items()
            }
            scaled = {o.name: losses[o.name] * scale.read_value() for o in objectives}
        gradients = {
            o.name: tape.gradient(scaled[o.name], [v.value for v in active(o)], unconnected_gradients=unconnected)
            for o in objectives
        }
        return ShardResults(gradients, losses, counts, outputs)

    def _shard_sums(
        self, functions: ShardFunctions, shard: Batch, number: tf.Tensor, statistics: list[tf.Tensor]
    ) -> Sums:
        """What one shard, fields [shard_size, …], adds to the sums; resets the moving statistics to `statistics`.

        number: int32 [], index of the shard in the global batch.
        """
        layers, steps_done = self.state.layers, self.state.counters.step.read_value()
        layers.seed(steps_done, number)
        real = without_padding(shard) if self.drops_padding else shard
        found = functions.gradients(real, randomness.fold(self.seed, steps_done, number, 0))
        functions.update_metrics(real, found.outputs)
        # A shard of nothing but padding contributes no statistics.
        filled = tf.cast(tf.reduce_any(shard["valid"] > 0), tf.float32)
        changes = layers.take_changes(statistics, filled, number)
        size = self.layout.shard_size
        position = tf.cast(number * size, tf.int64) + tf.range(size, dtype=tf.int64)  # in the global batch
        hashed = digest.mix(shard["id"], steps_done * self.layout.batch_size + position)
        hashed = tf.where(shard["valid"] > 0, hashed, tf.zeros_like(hashed))
        return Sums(found.counts, tf.reduce_sum(hashed), found.gradients, found.losses, changes, filled)

    def mean_gradients(
        self, functions: ShardFunctions, block: Batch, i: tf.Tensor
    ) -> tuple[Sums, Gradients, tf.Tensor]:
        """Phases 1 to 3, of one replica; arguments as in __call__, of this replica.

        Returns: the sums over all replicas; the gradients of the mean losses over the global batch, unscaled; and
        whether these are all finite, bool [], which is looked at under loss scaling alone.
        """
        state = self.state
        batch = tf.nest.map_structure(lambda tensor: tensor[i], block)  # [slots, shard_size, …]
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        statistics = state.layers.read_statistics()
        sums: Sums | None = None
        for slot in range(self.layout.slots):
            shard = tf.nest.map_structure(lambda tensor, slot=slot: tensor[slot], batch)  # [shard_size, …]
            added = self._shard_sums(functions, shard, replica * self.layout.slots + slot, statistics)
            sums = added if sums is None else tf.nest.map_structure(_added, sums, added)
        assert sums is not None
        sums = tf.nest.map_structure(tf.convert_to_tensor, sums)
        steps_done = state.counters.step.read_value()
        if self._nan_after is not None:
            hit = tf.where(steps_done == self._nan_after, np.nan, 1.0)
            sums = sums._replace(counts={name: count * hit for name, count in sums.counts.items()})

        # 2. The exchange. All travel as float32, to be packed together; only gradients may travel in a shorter dtype.
        gradients_as = tf.as_dtype(self.arithmetic.reduce_dtype)
        own = sums._replace(digest=digest.to_pieces(sums.digest, self.layout.replicas))
        sent = tf.nest.map_structure(lambda tensor: tf.cast(tensor, tf.float32), own)
        sent = sent._replace(gradients=tf.nest.map_structure(lambda g: tf.cast(g, gradients_as), own.gradients))
        received = self._reduction.reduce(sent)
        received = tf.nest.map_structure(lambda tensor, like: tf.cast(tensor, like.dtype), received, own)
        sums = received._replace(digest=digest.from_pieces(received.digest, self.layout.replicas))

        # 3. The mean, and whether it can be applied.
        scale = state.loss_scale.read_value()
        gradients = {
            name: [g / tf.cast(tf.maximum(sums.counts[name], 1e-30) * scale, g.dtype) for g in gs]
            for name, gs in sums.gradients.items()
        }
        finite = tf.constant(True)
        if state.loss_scale.active:
            # Gradients of an objective that is not due are not applied, so they need not be finite.
            finite = tf.reduce_all(
                [
                    tf.reduce_all(tf.math.is_finite(g)) | (steps_done % o.every != 0)
                    for o in state.parts.objectives
                    for g in gradients[o.name]
                ]
            )
        return sums, gradients, finite

    # 4. The update, in cross-replica context; _optimize in replica context.

    def _update(self, sums: Sums, gradients: Gradients, is_last: tf.Tensor) -> None:
        """Updates moving statistics, weights and their average, and adds the losses to their sums."""
        state, steps_done = self.state, self.state.counters.step.read_value()
        losses, counts = self.first(sums.losses), self.first(sums.counts)
        self.strategy.run(state.layers.apply_mean, args=(sums.statistics, sums.shards))
        for objective in state.parts.objectives:
            if objective.every == 1:
                self._update_objective(objective, gradients, is_last)
            else:
                # Always with the norm: this objective may never be due in the last step of a host call.
                due, read = steps_done % objective.every == 0, tf.constant(True)
                tf.cond(due, lambda o=objective, r=read: self._update_objective(o, gradients, r), lambda: None)
        state.average.update(self.strategy, steps_done)
        state.loss_sums.add(losses, counts)

    def _update_objective(self, objective: Objective, gradients: Gradients, norm_is_read: tf.Tensor) -> None:
        norm = self.strategy.run(self._optimize, args=(objective, gradients[objective.name], norm_is_read))
        self.state.counters.gradient_norms[objective.name].assign(self.first(norm))

    def _optimize(self, objective: Objective, gradients: list[tf.Tensor], norm_is_read: tf.Tensor) -> tf.Tensor:
        """Clips and applies an objective's gradients; returns their global norm before clipping, float32 []."""
        clip = self.arithmetic.clip_norm
        if clip is not None:
            gradients, norm = tf.clip_by_global_norm(gradients, clip)
        else:
            # It reads all gradients once more, which a small step would notice: only for the step that is reported.
            norm = tf.cond(norm_is_read, lambda: tf.linalg.global_norm(gradients), lambda: tf.constant(0.0))
        objective.optimizer.apply(gradients, active(objective))
        return tf.cast(norm, tf.float32)

    def first(self, per_replica: Any) -> Any:
        """The first local replica's value of what the reduction has made equal on all."""
        return tf.nest.map_structure(lambda value: self.strategy.experimental_local_results(value)[0], per_replica)

    # All of it, in cross-replica context.

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def __call__(self, functions: ShardFunctions, block: Batch, i: tf.Tensor, is_last: tf.Tensor) -> None:
        """Does one step.

        Args:
          functions: the parts that are compiled separately.
          block: per replica, fields [K, slots, shard_size, …].
          i: int32 [], which of the block's K steps.
          is_last: bool [], whether it is the last step of a host call; only that one's gradient norm is reported.
        """
        state = self.state
        sums, gradients, finite = self.strategy.run(self.mean_gradients, args=(functions, block, i))
        finite, input_digest = self.first(finite), self.first(sums.digest)
        if state.loss_scale.active:
            # Between two strategy.run calls: inside one, the condition would contain the optimizer's merge_call, which
            # tf.distribute does not allow.
            state.counters.skipped.assign_add(tf.cast(tf.logical_not(finite), tf.int64))
            tf.cond(finite, lambda: self._update(sums, gradients, is_last), lambda: None)
            state.loss_scale.update(finite)
        else:
            self._update(sums, gradients, is_last)
        state.counters.digest.assign_add(input_digest)
        state.counters.step.assign_add(1)


def _added(
    sum_so_far: tf.Tensor | tf.IndexedSlices, more: tf.Tensor | tf.IndexedSlices
) -> tf.Tensor | tf.IndexedSlices:
    """The sum; that of rows of a table is the rows of both, where one index may stand more than once."""
    if not (isinstance(sum_so_far, tf.IndexedSlices) and isinstance(more, tf.IndexedSlices)):
        return tf.add(sum_so_far, more)
    return tf.IndexedSlices(
        *(tf.concat([getattr(each, part) for each in (sum_so_far, more)], axis=0) for part in ("values", "indices")),
        more.dense_shape,
    )
