"""The compiled loop on the devices: runs many steps of a block in one host call. Does no arithmetic itself."""

import contextlib
import functools
from collections.abc import Callable, Iterable

import tensorflow as tf

from trainer.base import randomness
from trainer.data.pipeline import Segment
from trainer.step.arithmetic import xla_pays
from trainer.step.freezing import Freeze
from trainer.step.reading import ResultReader
from trainer.step.results import StepResults
from trainer.step.train_step import ShardFunctions, TrainStep
from trainer.step.values import assign_values, read_values
from trainer.tasks.protocol import Batch


class DeviceLoop:
    """Compiles a train step and runs it.

    Args:
      train_step: the step to run.
    """

    def __init__(self, train_step: TrainStep):
        self.train_step, self.state = train_step, train_step.state
        self._reader = ResultReader(self.state)
        self.xla = train_step.arithmetic.xla  # None until the choice is made
        self._one_replica = train_step.layout.replicas == 1
        self._compiled: Callable[..., None] | None = None

    def train(self, segments: Iterable[Segment]) -> None:
        """Runs all steps of the segments, with one host call per segment."""
        for segment in segments:
            if self._compiled is None:
                self._compiled = self._compile(segment)
            self._compiled(*segment)
            if self._one_replica:
                self.train_step.collective_wait.passed(int(segment.stop - segment.start))

    def read(self) -> StepResults:
        """See ResultReader.read."""
        return self._reader.read()

    @property
    def is_compiled(self) -> bool:
        """Whether the next call of `train` runs without compiling first."""
        return self._compiled is not None

    def unfreeze(self, rule: Freeze | None = None) -> None:
        """See StepState.unfreeze; the next call of `train` compiles again."""
        self.state.unfreeze(rule)
        self._compiled = None

    def _compile(self, segment: Segment) -> Callable[..., None]:
        """Returns the compiled loop over a block.

        If Arithmetic.xla is None, xla_pays decides; but if XLA lacks an op of this task, the plain graph is used. Every
        process of every attempt decides the same way, since the ops are the same.
        """
        if self.xla is None:
            self.xla = False
            # XLA compiles for batches of one size.
            if not self.train_step.drops_padding and xla_pays(self.state.parts.models.values()):
                functions = shard_functions(self.train_step, xla=True)
                compiled = self._over_a_block(functions, xla=True)
                try:
                    self._try(compiled, functions, segment)
                    self.xla = True
                    return compiled
                except tf.errors.OpError:
                    pass
        return self._over_a_block(shard_functions(self.train_step, self.xla), self.xla)

    def _over_a_block(self, functions: ShardFunctions, xla: bool) -> Callable[..., None]:
        def train_block(block: Batch, start: tf.Tensor, stop: tf.Tensor) -> None:
            with random_algorithm(xla):
                i = start
                while i < stop:  # not tf.range: XLA compiles its ends in, which takes one program per number of steps
                    self.train_step(functions, block, i, i == stop - 1)
                    i += 1

        # On one replica XLA compiles the whole block, optimizer included; on several, what stays within a replica.
        compiled: Callable[..., None] = tf.function(train_block, jit_compile=xla and self._one_replica)
        return compiled

    def _try(self, compiled: Callable[..., None], functions: ShardFunctions, segment: Segment) -> None:
        """Lets XLA compile its part without any effect on the state; raises an OpError if it cannot."""
        if self._one_replica:
            compiled(segment.block, segment.start, segment.start)  # zero steps
            return

        # One shard instead of a step: once a collective fails on one rank, all later collectives fail, too.
        def first_shard(block: Batch, i: tf.Tensor) -> None:  # of each replica: [K, slots, shard_size, …]
            shard = tf.nest.map_structure(lambda tensor: tensor[i][0], block)  # [shard_size, …]
            found = functions.gradients(shard, randomness.fold(self.train_step.seed))
            functions.update_metrics(shard, found.outputs)

        @functools.partial(tf.function, autograph=False)
        def trial(block: Batch, i: tf.Tensor) -> None:
            with random_algorithm(xla=True):
                self.train_step.strategy.run(first_shard, args=(block, i))

        before = read_values(self.state)
        try:
            trial(segment.block, segment.start)
        finally:
            assign_values(self.state, before)


def shard_functions(train_step: TrainStep, xla: bool) -> ShardFunctions:
    """The parts of a step that need no other replica, as separate tf.functions.

    Separate, because a task may be written for AutoGraph, and the step itself is traced without it.
    """
    # On one replica XLA compiles them as part of the whole block.
    jit = True if xla and train_step.layout.replicas > 1 else None
    state = train_step.state
    return ShardFunctions(
        tf.function(train_step.shard_gradients, jit_compile=jit),
        tf.function(functools.partial(state.task.update, state.metrics), jit_compile=jit),
    )


def random_algorithm(xla: bool) -> contextlib.AbstractContextManager[None]:
    """A context that traces with the random algorithm for XLA, or for plain graphs.

    The two draw different bits, so the choice follows the run's setting of XLA and not the number of replicas.
    """
    return randomness.algorithm("threefry" if xla else "philox")
