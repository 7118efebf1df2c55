"""The host loop: it decides how many steps to run next, and what happens between them. Nothing else."""

from collections.abc import Sequence

from trainer.actions.action import NEVER, Action
from trainer.data.pipeline import Input
from trainer.goodput import Ledger
from trainer.pace import Pace
from trainer.reports import Reporter
from trainer.step import TrainStep


class Controller:
    """Runs a step over an input, and actions at the boundaries between host calls.

    Args:
      steps_per_epoch: the sums of an epoch are forgotten at its end, so no host call crosses one.
      steps_per_loop: upper bound of the steps of one host call.
    """

    def __init__(
        self,
        step: TrainStep,
        data: Input,
        reporter: Reporter,
        actions: Sequence[Action],
        ledger: Ledger,
        steps_per_epoch: int,
        steps_per_loop: int,
    ):
        self.step, self.input, self.reporter, self.actions, self.ledger = (
            step,
            data,
            reporter,
            actions,
            ledger,
        )
        self.steps_per_epoch, self.pace = steps_per_epoch, Pace(steps_per_loop)
        self.stop_requested = False

    def train(self, step: int, total_steps: int) -> int:
        """Trains from `step` to `total_steps`, or until an action ends the run; returns the step it got to."""
        with self.ledger.spend("startup"):
            batches = self.input.open(step, total_steps)
        while not self.stop_requested:
            due = min((action.next_step(step) for action in self.actions), default=NEVER)
            if step >= total_steps and due > step:
                break
            epoch_end = (step // self.steps_per_epoch + 1) * self.steps_per_epoch
            until = min(max(step, total_steps), step + self.pace.steps, epoch_end, due)
            if until > step:
                if step % self.steps_per_epoch == 0:
                    self.step.reset_epoch()
                with self.ledger.spend("stepping" if self.step.compiled else "compilation"):
                    self.step.train(batches.take(until - step))  # one host call, many steps
                    report = self.reporter.read(until)  # collective
                self.pace.measured(report.steps, report.seconds)
            else:
                report = self.reporter.read(until)
            step = until
            for action in self.actions:
                if action.due(step, report):
                    self.stop_requested |= action(report)  # the same answer on every rank
        return step
