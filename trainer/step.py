"""What runs on the devices: the train step, and the order of its arithmetic.

    per shard   forward and backward, per objective, divided by the static batch size     no collective
    per replica sum over its shards
    once        all-reduce of gradients, counts, statistics and digest
    then        divide by the global count -> unscale -> finite? -> clip -> optimizer -> average of the weights

Knows nothing of where batches come from, when to stop, evaluate or save.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer import keras_internals, optimizers, randomness, reduction, strategies
from trainer.arithmetic import Arithmetic, xla_pays
from trainer.arrivals import Arrivals
from trainer.averaging import Average
from trainer.data import order
from trainer.data.pipeline import Layout, Segment
from trainer.data.source import Field
from trainer.errors import UsageError
from trainer.freezing import Freeze, Frozen, active
from trainer.loss_scale import LossScale
from trainer.tasks.protocol import Objective, Parts, Task
from trainer.totals import Totals, counter, scalar


class Numbers(NamedTuple):
    """What a step has to report.

    losses: by objective, sum and count since the last report.
    metrics: since the epoch began, mean losses among them.
    hyperparameters: learning rate, gradient norm of the last step before clipping, loss scale.
    finite: whether all trained weights are.
    """

    losses: dict[str, tuple[float, float]]
    metrics: dict[str, float]
    hyperparameters: dict[str, float]
    finite: bool


class TrainStep:
    """One task's parts, built for one strategy, and the compiled loop over a block of batches.

    Args:
      strategy: the process's one strategy; replicas must equal `layout.replicas`.
      task: not yet built.
      fields: of the training data.
      layout: how a global batch is cut.
      seed: of everything random in the step.
      arithmetic: the choices that decide the numbers.
      freezes: which layers stay as they are.
      prepare: called with the parts once they are built, before anything depends on their values.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        task: Task,
        fields: Mapping[str, Field],
        layout: Layout,
        seed: int,
        arithmetic: Arithmetic,
        freezes: Sequence[Freeze] = (),
        prepare: Callable[[Parts], None] = lambda parts: None,
    ):
        self.strategy, self.task, self.layout = strategy, task, layout
        self.seed, self.arithmetic = seed, arithmetic
        self.arrivals = Arrivals(strategies.local_replicas(strategy))
        self._poisoned: int | None = None
        with strategy.scope():
            parts = task.build(fields)
            prepare(parts)
            self._frozen = Frozen(freezes, parts)
            self.parts = parts._replace(objectives=[self._frozen.without(o) for o in parts.objectives])
            for objective in self.parts.objectives:
                optimizers.prepare(objective)
            self._rates = [optimizers.learning_rate(objective) for objective in self.parts.objectives]
            self.metrics = dict(task.metrics())
            names = [objective.name for objective in self.parts.objectives]
            if clash := set(names) & set(self.metrics):
                raise UsageError(
                    f"a metric has the name of an objective, '{clash.pop()}': give the metric another name"
                )
            self.step, self.digest, self.skipped = (counter(tf.int64) for _ in range(3))
            self.totals = Totals(names)
            self.gradient_norms = {name: counter(tf.float32) for name in names}
            self.average = Average.of(arithmetic.average_decay, self.parts)
            self.scale = LossScale.of(arithmetic.precision)
        for layer in keras_internals.stateful_layers(self.parts.models.values()):
            raise UsageError(
                f"the layer '{layer.name}' is stateful: what it carries from batch to batch would depend on how a "
                f"batch is cut; make it with stateful = False"
            )
        self._seeds = keras_internals.seed_variables(self.parts.models.values())
        self.statistics = keras_internals.statistics(self.parts.models.values())
        self.xla = arithmetic.xla
        self._alone = layout.replicas == 1
        self._compiled: Callable | None = None
        self._read = tf.function(self._read_variables, autograph=False)

    # What the loop calls.

    def train(self, segments: Iterable[Segment]) -> None:
        """Works through the segments' steps."""
        for segment in segments:
            if self._compiled is None:
                self._compiled = self._compile(segment)
            self._compiled(*segment)

    def reset_epoch(self) -> None:
        """Forgets the sums of the epoch that is over."""
        for metric in self.metrics.values():
            metric.reset_state()
        self.totals.reset_epoch()

    def read(self) -> Numbers:
        """Returns what there is to report, equal on every rank. A collective."""
        totals, metrics, hyperparameters, finite = tf.nest.map_structure(lambda t: float(t.numpy()), self._read())
        means = {name: total / count if count else 0.0 for name, (total, count) in totals["epoch"].items()}
        return Numbers(totals["recent"], means | metrics, hyperparameters, bool(finite))

    def poison(self, step: int) -> None:
        """Makes the gradients of the step after `step` NaN. To be called before the first host call."""
        self._poisoned = step

    def release(self, rule: Freeze | None = None) -> None:
        """Has layers trained that a rule has frozen, or all that end some time; the next call compiles anew."""
        for each in [rule] if rule else self._frozen.ending:
            self._frozen.release(each)
        self._compiled = None

    @property
    def compiled(self) -> bool:
        """Whether the next call of `train` finds its program ready."""
        return self._compiled is not None

    def scale_learning_rate(self, factor: float) -> None:
        """Has every objective's learning rate be `factor` times the configured one."""
        for objective, rate in zip(self.parts.objectives, self._rates, strict=True):
            if rate is None:
                raise UsageError(
                    f"the learning rate of '{objective.name}' is a schedule, which only time changes: give a number"
                )
            objective.optimizer.learning_rate.assign(rate * factor)

    def variables(self) -> dict[str, tf.Variable]:
        """Every variable that must survive, by a name that does not depend on positions in lists."""
        named = {"step": self.step, "input/digest": self.digest, "skipped_steps": self.skipped}
        for name, model in self.parts.models.items():
            seeds = {id(state) for state in self._seeds}  # functions of the step: nothing to keep
            named |= _by_path(f"models/{name}", [v for v in model.variables if id(v) not in seeds])
        named |= {f"variables/{name}": variable.value for name, variable in self.parts.variables.items()}
        for objective in self.parts.objectives:
            named |= _by_path(f"optimizers/{objective.name}", keras_internals.optimizer_state(objective.optimizer))
        for name, metric in self.metrics.items():
            named |= {f"metrics/{name}/{i}": v.value for i, v in enumerate(metric.variables)}
        return named | self.totals.variables() | self.average.variables() | self.scale.variables()

    def _read_variables(self):
        """Everything that is reported, in one call, and the start of the next report."""
        hyperparameters = dict(self.scale.report())
        for objective in self.parts.objectives:
            # A single objective's go by their plain names.
            suffix = "" if len(self.parts.objectives) == 1 else f"/{objective.name}"
            hyperparameters[f"learning_rate{suffix}"] = tf.convert_to_tensor(objective.optimizer.learning_rate)
            hyperparameters[f"gradient_norm{suffix}"] = self.gradient_norms[objective.name].read_value()
        metrics = {name: scalar(name, metric.result()) for name, metric in self.metrics.items()}
        weights = [v.value.read_value() for objective in self.parts.objectives for v in objective.variables]
        weights += [v.value.read_value() for v in self.statistics]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(weight)) for weight in weights])
        return self.totals.read(), metrics, hyperparameters, finite

    # Compilation.

    def _compile(self, segment: Segment) -> Callable:
        """Returns the compiled loop over a block.

        Where the choice was left open and XLA does not know an op of this task, the plain graph is used: the same
        answer in every process of every attempt, since the ops are the same.
        """
        if self.xla is None:
            self.xla = False
            if xla_pays(self.parts.models.values()):
                shard, update = self.functions(xla=True)
                compiled = self._loop(True, shard, update)
                try:
                    self._try(compiled, shard, update, segment)
                    self.xla = True
                    return compiled
                except tf.errors.OpError:
                    pass
        return self._loop(self.xla, *self.functions(self.xla))

    def _loop(self, xla: bool, shard: Callable, update: Callable) -> Callable:
        def train_block(block, start, stop):
            with algorithm(xla):
                i = start
                while i < stop:  # not tf.range, whose ends XLA would compile in: one program for each length
                    self._train_one(shard, update, block, i, i == stop - 1)
                    i += 1

        # On one replica XLA has the whole block, optimizer and all; on several it has what stays within a replica.
        return tf.function(train_block, jit_compile=xla and self._alone)

    def functions(self, xla: bool) -> tuple[Callable, Callable]:
        """A shard's forward and backward, and its part in the metrics: all of a step that needs no other replica.

        Functions of their own, because a task may be written for AutoGraph and the step itself is not.
        """
        compiled = True if xla and not self._alone else None
        return (
            tf.function(self._forward_backward, jit_compile=compiled),
            tf.function(functools.partial(self.task.update, self.metrics), jit_compile=compiled),
        )

    def _try(self, compiled: Callable, shard: Callable, update: Callable, segment: Segment) -> None:
        """Has XLA compile what it is to have, with no effect on the state; raises an OpError if it cannot."""
        if self._alone:
            compiled(segment.block, segment.start, segment.start)  # no step of it
            return

        # One shard, and not a step: where one rank fails in a collective, so do all collectives from then on.
        def first_shard(block, i):
            part = tf.nest.map_structure(lambda tensor: tensor[i][0], block)
            update(part, shard(part, randomness.fold(self.seed))[1])

        @functools.partial(tf.function, autograph=False)
        def trial(block, i):
            with algorithm(xla=True):
                self.strategy.run(first_shard, args=(block, i))

        before = {name: v.read_value().numpy() for name, v in self.variables().items()}
        try:
            trial(segment.block, segment.start)
        finally:
            for name, variable in self.variables().items():
                variable.assign(before[name])

    # One step, in cross-replica context.

    @tf.autograph.experimental.do_not_convert
    def _train_one(self, shard, update, block, i, last) -> None:
        reduced = self.strategy.run(self.reduced, args=(shard, update, block, i))
        losses, counts, finite, digest = (self.first(reduced[key]) for key in ("losses", "counts", "finite", "digest"))

        def apply():
            self.strategy.run(self._move_statistics, args=(reduced["moved"], reduced["shards"]))
            for objective in self.parts.objectives:
                self._apply(objective, reduced, last)
            self.average.update(self.strategy, self.step.read_value())
            self.totals.add(losses, counts)

        if self.scale.active:
            # A condition between two strategy.run calls; inside of one it would have to hold an optimizer's merge call.
            self.skipped.assign_add(tf.cast(tf.logical_not(finite), tf.int64))
            tf.cond(finite, apply, lambda: None)
            self.scale.update(finite)
        else:
            apply()
        self.digest.assign_add(digest)
        self.step.assign_add(1)

    def _apply(self, objective: Objective, reduced, last) -> None:
        def apply():
            # An objective that is not due in the last step would otherwise never report its norm.
            read = last if objective.every == 1 else tf.constant(True)
            norm = self.strategy.run(self._optimize, args=(objective, reduced["gradients"][objective.name], read))
            self.gradient_norms[objective.name].assign(self.first(norm))

        if objective.every == 1:
            apply()
        else:
            tf.cond(self.step % objective.every == 0, apply, lambda: None)

    def first(self, per_replica):
        """Any replica's value of what the all-reduce has made equal."""
        return tf.nest.map_structure(lambda value: self.strategy.experimental_local_results(value)[0], per_replica)

    # One step, in replica context.

    def reduced(self, shard, update, block, i):
        """This replica's shards, forward and backward, summed over all replicas."""
        context = tf.distribute.get_replica_context()
        batch = tf.nest.map_structure(lambda tensor: tensor[i], block)
        first_shard = context.replica_id_in_sync_group * self.layout.slots
        before = [v.value.read_value() for v in self.statistics]
        sums = None
        for slot in range(self.layout.slots):
            part = tf.nest.map_structure(lambda tensor, slot=slot: tensor[slot], batch)
            one = self._shard(shard, update, part, first_shard + slot, before)
            sums = one if sums is None else tf.nest.map_structure(tf.add, sums, one)
        if self._poisoned is not None:
            hit = tf.where(self.step.read_value() == self._poisoned, np.nan, 1.0)
            sums["counts"] = {name: count * hit for name, count in sums["counts"].items()}  # divides the gradients
        reduced = reduction.all_reduce(context, sums, tf.as_dtype(self.arithmetic.reduce_dtype), self.arrivals)
        scale = self.scale.read_value()
        gradients = {
            name: [g / tf.cast(tf.maximum(reduced["counts"][name], 1e-30) * scale, g.dtype) for g in gs]
            for name, gs in reduced["gradients"].items()
        }
        finite = tf.constant(True)
        if self.scale.active:
            # An objective that is not due cannot do any harm.
            finite = tf.reduce_all(
                [
                    tf.reduce_all(tf.math.is_finite(g)) | (self.step.read_value() % o.every != 0)
                    for o in self.parts.objectives
                    for g in gradients[o.name]
                ]
            )
        return {**reduced, "gradients": gradients, "finite": finite}

    def _shard(self, shard, update, part, number, before):
        """What one shard adds to the sums; leaves the moving statistics as they were `before`."""
        step = self.step.read_value()
        self.seed_layers(step, number)
        sums, outputs = shard(part, randomness.fold(self.seed, step, number, 0))
        update(part, outputs)
        # A shard of nothing but padding has statistics of nothing.
        filled = tf.cast(tf.reduce_any(part["valid"] > 0), tf.float32)
        moved = [
            tf.cast(filled, old.dtype) * (v.value.read_value() - old)
            for v, old in zip(self.statistics, before, strict=True)
        ]
        for v, old in zip(self.statistics, before, strict=True):
            v.value.assign(old)
        size = self.layout.shard_size
        place = tf.cast(number * size, tf.int64) + tf.range(size, dtype=tf.int64)
        hashed = order.mix(part["id"], step * self.layout.batch_size + place)
        digest = tf.reduce_sum(tf.where(part["valid"] > 0, hashed, tf.zeros_like(hashed)))
        return {**sums, "moved": moved, "shards": filled, "digest": digest}

    def seed_layers(self, step, number) -> None:
        """Makes what the layers draw next a function of the step and the shard."""
        for i, state in enumerate(self._seeds):
            state.value.assign(tf.cast(randomness.fold(self.seed, step, number, i + 1), state.value.dtype))

    def _forward_backward(self, part, seed):
        objectives = self.parts.objectives
        size = tf.constant(self.layout.batch_size, tf.float32)  # static: keeps sums in range, and cancels out later
        with tf.GradientTape(persistent=len(objectives) > 1) as tape:
            losses, outputs = self.task.losses(part, seed)
            counts = {o.name: tf.reduce_sum(losses[o.name].counts) / size for o in objectives}
            totals = {
                o.name: tf.reduce_sum(losses[o.name].values) / size + losses[o.name].shared * counts[o.name]
                for o in objectives
            }
            scaled = {name: total * self.scale.read_value() for name, total in totals.items()}
        gradients = {
            o.name: [
                tf.convert_to_tensor(g)
                for g in tape.gradient(
                    scaled[o.name],
                    [v.value for v in active(o)],
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
            ]
            for o in objectives
        }
        return {"gradients": gradients, "losses": totals, "counts": counts}, outputs

    def _move_statistics(self, moved, shards):
        """Moving statistics change by the mean of what the shards would have changed them by."""
        for v, change in zip(self.statistics, moved, strict=True):
            v.value.assign(v.value.read_value() + change / tf.cast(shards, change.dtype))

    def _optimize(self, objective: Objective, gradients, read):
        clip = self.arithmetic.clip_norm
        if clip is not None:
            gradients, norm = tf.clip_by_global_norm(gradients, clip)
        else:
            # Reading every gradient once more costs a tenth of a small step, so only for the step that is reported.
            norm = tf.cond(read, lambda: tf.linalg.global_norm(gradients), lambda: tf.constant(0.0))
        objective.optimizer.apply(gradients, active(objective))
        return tf.cast(norm, tf.float32)


def algorithm(xla: bool):
    """XLA and plain graphs draw different bits, so the choice is the run's, not the number of replicas'."""
    return randomness.algorithm("threefry" if xla else "philox")


def _by_path(prefix: str, variables: Iterable[keras.Variable]) -> dict[str, tf.Variable]:
    named = {}
    for variable in variables:
        name = f"{prefix}/{variable.path}"
        if name in named:
            raise UsageError(f"two variables are called '{variable.path}': give the layers names of their own")
        named[name] = variable.value
    return named
