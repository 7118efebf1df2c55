"""The host loop: it decides how many steps to run next, and runs the actions that are due between them. Nothing else.

At a step boundary, between two host calls, the actions that are due run in the order of their turns
(trainer.actions.action.Turn), which each action class sets itself; the console prints it at the start of a run:

    GUARD     may end the run, or change the next step      faults, NonFinite, Unfreeze
    MEASURE   produces the values that others decide by     Evaluate
    ACT       decides by those values                       EarlyStopping, ReduceOnPlateau, Show, Projector, Stop
    TELL      reports what the actions before it found      Log, Progress, Straggler
    KEEP      saves, including the state of all the others  Checkpoint
"""

from collections.abc import Sequence

from trainer.actions.action import NEVER, Action
from trainer.data.pipeline import Input
from trainer.lifecycle.goodput import Goodput
from trainer.loop.agreement import Agreement
from trainer.loop.reporter import Reporter
from trainer.step.device_loop import DeviceLoop
from trainer.step.pace import Pace


class Controller:
    """Runs steps over an input, and actions at the boundaries between host calls.

    Args:
      device_loop: runs the steps.
      data: the training input.
      reporter: makes the report of each boundary.
      actions: sorted by their turns.
      goodput: where time goes.
      steps_per_epoch: no host call crosses the end of an epoch, where its sums are reset.
      steps_per_loop: upper bound on the steps of one host call.
      agreement: finds out when ranks do not do the same.
    """

    def __init__(
        self,
        device_loop: DeviceLoop,
        data: Input,
        reporter: Reporter,
        actions: Sequence[Action],
        goodput: Goodput,
        steps_per_epoch: int,
        steps_per_loop: int,
        agreement: Agreement,
    ):
        self.device_loop, self.input, self.reporter = device_loop, data, reporter
        self.actions, self.goodput = actions, goodput
        self.steps_per_epoch, self.pace = steps_per_epoch, Pace(steps_per_loop)
        self.agreement, self.stop_requested = agreement, False

    def train(self, step: int, total_steps: int) -> int:
        """Trains from `step` to `total_steps`, or until an action ends the run; returns the step reached."""
        with self.goodput.spend("startup"):
            batches = self.input.open(step, total_steps)
        while True:
            dues = [action.next_step(step) for action in self.actions]
            self.agreement.at_boundary(step, dues)  # collective
            due = min(dues, default=NEVER)
            if self.stop_requested or (step >= total_steps and due > step):
                return step
            epoch_end = (step // self.steps_per_epoch + 1) * self.steps_per_epoch
            until = min(max(step, total_steps), step + self.pace.steps, epoch_end, due)
            if until > step:
                if step % self.steps_per_epoch == 0:
                    self.device_loop.state.reset_epoch()
                with self.goodput.spend("stepping" if self.device_loop.is_compiled else "compilation"):
                    self.device_loop.train(batches.take(until - step))  # one host call, many steps
                    report = self.reporter.read(until)  # collective
                self.pace.measured(report.interval.steps, report.interval.seconds)
            else:
                report = self.reporter.read(until)
            step = until
            for index, action in enumerate(self.actions):
                if action.due(step, report):
                    self.agreement.before(index, step)
                    ends = action(report)  # the same answer on every rank
                    self.agreement.after(index, ends)
                    self.stop_requested |= ends
