"""--mode=train: trains from where the run stands to its end, or until a stop request. The loop itself is in loop/."""

import contextlib
import functools
import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.actions.action import Action, Attempt, Context, Training
from trainer.base.errors import EnvironmentTrouble, TrainingError, UsageError, of_environment
from trainer.data.pipeline import Input
from trainer.distributed import strategies
from trainer.lifecycle.stop_requests import StopReason
from trainer.loop.agreement import Agreement
from trainer.loop.controller import Controller
from trainer.loop.reporter import Reporter
from trainer.modes.records import Experiment
from trainer.modes.state import TrainState
from trainer.observe.summaries import NoSummaries, Summaries
from trainer.rundir.directory import TENSORBOARD
from trainer.step.values import EVALUATED, assign_values, read_values


def run(experiment: Experiment) -> int:
    """Trains; returns the exit status: 0, or the StopReason's number (128 + N for signal N)."""
    attempt = TrainAttempt(experiment)
    if attempt.nothing_left():
        return 0
    controller = Controller(
        experiment.device_loop,
        attempt.input,
        attempt.reporter,
        attempt.actions,
        attempt.goodput,
        experiment.examples.order.steps_per_epoch,
        experiment.length.steps_per_loop,
        Agreement(experiment.replicas.ranks, attempt.actions),
    )
    attempt.begin()
    try:
        step = controller.train(attempt.first_step, experiment.length.total_steps)
        attempt.end(step)
    finally:
        attempt.close()
        experiment.resumption.checkpoints.finish()
    return attempt.reason


class TrainAttempt:
    """One attempt at a run: restores, saves and reports around the loop. Writes nothing before `begin`.

    Raises:
      UsageError: the checkpoint is of another model, or the actions do not fit together.
    """

    def __init__(self, experiment: Experiment):
        self._experiment, self._invocation = experiment, experiment.invocation
        self._resumption, self._directory = experiment.resumption, experiment.resumption.directory
        self._console, self.goodput = experiment.invocation.console, experiment.invocation.goodput
        self.reason, self._told = StopReason.NONE, False  # of trouble with what only informs
        first = experiment.replicas.ranks.first
        self._summaries: Summaries = NoSummaries()
        if first:
            self._summaries = Summaries(self._directory.path / TENSORBOARD, self._directory.writing)
        context = self._context()
        self.actions = sorted((make(context) for make in experiment.actions), key=lambda action: action.turn)
        _require_measured(self.actions)
        self._state = TrainState(experiment.device_loop.state, self.actions)
        saved = self._resumption.saved
        self.first_step = saved.step if saved else 0
        if saved:
            self._state.assign(saved.values)
        previous = self._resumption.previous_report
        journal, self._repeated = self._directory.read_journal(), previous.get("repeated_steps", 0)
        if journal:
            self.goodput.go_on(journal, saved.notes["goodput"] if saved else {})
            # Both of one entry: the report may tell already of steps that the attempt which wrote it repeated.
            self._repeated = journal["repeated_steps"] + max(0, journal["step"] - self.first_step)
        self.reporter = Reporter(
            experiment.device_loop,
            experiment.examples.order,
            self.goodput,
            experiment.length.total_steps,
            self.first_step,
            self._invocation.stop_requests,
            experiment.replicas.ranks,
            self._resumption.checkpoints.failed,
        )
        known = previous.get("metrics", {}).items()
        self.reporter.evaluation |= {
            name: value for name, value in known if value is not None
        }  # null: it was not finite
        self.input = Input(
            experiment.examples.splits.train,
            experiment.examples.order,
            experiment.examples.layout,
            experiment.replicas.strategy,
            waiting=lambda: self.goodput.spend("data"),
        )

    def _context(self) -> Context:
        experiment, device_loop = self._experiment, self._experiment.device_loop
        return Context(
            experiment.length.total_steps,
            experiment.examples.order.steps_per_epoch,
            experiment.evaluator,
            self._summaries,
            self._console,
            self.goodput,
            Attempt(
                self._resumption.attempt,
                experiment.replicas.ranks,
                self.save,
                should_stop=lambda: bool(self._invocation.stop_requests.pending),
            ),
            Training(
                device_loop.state.parts,
                experiment.examples.splits.train.fields,
                device_loop.train_step.inject_nan,
                device_loop.state.scale_learning_rate,
                device_loop.unfreeze,
                functools.partial(read_values, device_loop.state, EVALUATED),
                functools.partial(assign_values, device_loop.state),
            ),
        )

    def nothing_left(self) -> bool:
        """Whether an earlier attempt has already done all that is asked for; if so, prints that."""
        before = self._resumption.previous_report
        # A run may finish before its last step (early stopping). Steps after the newest checkpoint are done again.
        complete = before.get("status") == "finished" and self.first_step >= before["step"]
        if not complete or self._experiment.length.total_steps > max(before["total_steps"], self.first_step):
            return False
        self._console.say(
            f"this run is finished, at step {self.first_step:,}; to go on, raise its epochs or steps; "
            f"to start afresh, choose another run_dir"
        )
        self._say_where()
        return True

    def begin(self) -> None:
        """Takes the directory, writes the run's first files, and prints what is about to happen. A collective.

        Raises:
          UsageError: another process trains in the directory, or did while this one started; or ranks do not share it.
          TrainingError: a value of the state differs between ranks.
        """
        experiment, resumption = self._experiment, self._resumption
        if experiment.replicas.ranks.first:
            self._claim()
        self._require_shared()
        self._state.require_equal(experiment.replicas.ranks)
        with self._directory.committing():
            resumption.checkpoints.clean()
            if experiment.replicas.ranks.first:
                experiment.examples.keep()
            configuration = self._invocation.configuration
            self._directory.write("config.gin", configuration.gin_text)
            self._directory.write("operative_config.gin", configuration.operative())
            committed = resumption.saved.notes["event_files"] if resumption.saved else {}
            self._summaries.rewind(self._directory.store, TENSORBOARD, committed)
        if resumption.saved is None:
            self._summaries.text("config.gin", configuration.gin_text)
            self._summaries.graph(experiment.evaluator.graph(experiment.examples.splits.train.fields))
        self._directory.write_report(self._report("running", self.first_step))
        self.goodput.keep_journal(self._write_journal)
        self.goodput.write_entry()
        self._say_what_begins()
        self._directory.keep_sending()
        self._invocation.setup.begun()
        self._invocation.setup.watch(experiment.device_loop.train_step.collective_wait.count)
        self.goodput.switch("other")

    def _claim(self) -> None:
        """Takes the directory, where no attempt had begun when this process started."""
        self._directory.acquire()
        if not self._directory.attempt and self._directory.claim() != self._resumption.attempt:
            raise UsageError(
                f"--run_dir={self._directory.where} was trained in by another process while this one started: "
                f"run the same command again"
            )

    def _say_what_begins(self) -> None:
        experiment, saved, fact = self._experiment, self._resumption.saved, self._console.fact
        examples, parts = experiment.examples, experiment.device_loop.state.parts
        sizes = ", ".join(f"{name} {len(source):,}" for name, source in examples.splits.parts().items())
        resumed = f"; goes on from step {saved.step:,}, attempt {self._resumption.attempt}" if saved else ""
        weights = sum(tf.size(v.value).numpy() for o in parts.objectives for v in o.variables)
        layout = examples.layout
        fact("run", f"{self._directory.where}{resumed}")
        fact("devices", strategies.describe(experiment.replicas.strategy))
        fact("data", f"{sizes} examples")
        for note in examples.notes:
            fact("", note)
        fact("model", f"{weights:,} trained weights, {layout.shards} shard(s) of {layout.shard_size} examples per step")
        if unreached := experiment.device_loop.state.unreached:
            fact(
                "",
                f"{len(unreached)} other variables get no gradient and stay as they are, the first is '{unreached[0]}'",
            )
        fact("steps", f"{experiment.length.total_steps:,}, {examples.order.steps_per_epoch:,} per epoch")
        fact("actions", f"in this order: {', '.join(action.name for action in self.actions)}")

    def _require_shared(self) -> None:
        """Raises UsageError if the ranks do not see one and the same directory. A collective."""
        ranks = self._experiment.replicas.ranks
        ranks.any(False)  # a barrier: rank 0 has claimed the directory after it
        seen = ranks.gather([self._directory.is_claimed(self._resumption.attempt)])[:, 0]
        if not seen.all():
            blind = ", ".join(map(str, np.flatnonzero(seen == 0)))
            raise UsageError(
                f"--run_dir={self._directory.where} of rank 0 is not seen by rank {blind}: name a folder on a mount "
                f"that all machines share"
            )

    def save(self, step: int) -> None:
        """Saves the state as of `step`, and the report with it. A collective."""
        with self.goodput.spend("checkpoint"):
            self._require_saved()
            notes = {
                "examples": self._experiment.examples.order.examples,
                "held_out": {name: len(source) for name, source in self._experiment.examples.splits.held_out().items()},
                "fingerprints": self._experiment.examples.fingerprints,
                "shards": self._experiment.examples.layout.shards,
                "xla": self._experiment.device_loop.xla,
                "event_files": self._summaries.commit(),
                "goodput": self.goodput.seconds(),
            }
            report = self._report("running", step)
            self._resumption.checkpoints.save(
                step, self._state.read(), notes, self._send, committed=lambda: self._directory.write_report(report)
            )

    def _require_saved(self) -> None:
        """Waits until the last checkpoint is on disk. A collective.

        Raises:
          TrainingError: it could not be written; on every rank, with the message of rank 0.
        """
        ranks, failure = self._experiment.replicas.ranks, None
        try:
            self._resumption.checkpoints.wait()
        except Exception as error:
            failure = error
        if not ranks.any(failure is not None):
            return
        said, may_pass = ranks.from_first([getattr(failure, "message", repr(failure)), of_environment(failure)])
        raise (EnvironmentTrouble if may_pass else TrainingError)(said) from failure

    def end(self, step: int) -> None:
        """Saves once more, waits until everything is on disk, and prints how the run ended. A collective."""
        self.reason = StopReason(
            int(self._experiment.replicas.ranks.largest([self._invocation.stop_requests.pending])[0])
        )
        self.save(step)
        with self.goodput.spend("checkpoint"):
            self._require_saved()
        self.goodput.write_entry()
        self._directory.write_report(self._report("stopped" if self.reason else "finished", step))
        self._directory.write("operative_config.gin", self._invocation.configuration.operative())
        self._console.close()
        if self.reason:
            self._console.say(
                f"stopped by {self.reason.words} at step {step:,}; saved; the same command goes on from there"
            )
        else:
            listed = "  ".join(f"{name} {value:.4g}" for name, value in self.reporter.metrics().items())
            self._console.say(f"finished at step {step:,}  {listed}")
        self._say_where()

    def close(self) -> None:
        """Closes console, actions and event files; called after a failure, too."""
        self._console.close()
        for action in self.actions:
            action.close()
        self._summaries.close()
        with contextlib.suppress(TrainingError):  # that the attempt is over has been told where it saves
            self._send()

    def _send(self) -> None:
        """Sends event files and pictures, which only inform: what cannot be sent is sent later."""
        try:
            self._directory.send()
        except OSError as error:
            self._tell_once(f"events and pictures could not be sent to {self._directory.where} ({error})")

    def _tell_once(self, trouble: str) -> None:
        if not self._told:
            self._console.say(f"warning: {trouble}; training goes on")
        self._told = True

    def _write_journal(self, entry: dict[str, Any]) -> None:
        latest = self.reporter.latest
        step = latest.step if latest else self.first_step
        try:
            self._directory.write_journal({**entry, "step": step, "repeated_steps": self._repeated})
        except OSError as error:
            if not of_environment(error):
                raise
            self._tell_once(f"where time goes could not be written down ({error})")

    def _say_where(self) -> None:
        self._console.fact("run", self._directory.where)
        self._console.fact("watch", f"tensorboard --logdir {self._directory.where}/{TENSORBOARD}")

    def _report(self, status: str, step: int) -> dict[str, Any]:
        """The contents of report.json."""
        rate = self.reporter.examples_per_second or self._resumption.previous_report.get("examples_per_second", 0.0)
        packages = ("convoy-train", "tensorflow", "keras", "numpy")
        return {
            "status": status,
            "step": step,
            "total_steps": self._experiment.length.total_steps,
            "examples_seen": self._experiment.examples.order.examples_before(step),
            "metrics": self.reporter.metrics(),
            "examples_per_second": round(rate, 1),
            "num_replicas": self._experiment.replicas.strategy.num_replicas_in_sync,
            "attempts": self._resumption.attempt,
            "repeated_steps": self._repeated,
            "goodput": {kind: round(seconds, 3) for kind, seconds in self.goodput.seconds().items()},
            "input_digest": f"{int(self._experiment.device_loop.state.counters.digest.numpy()) % (1 << 64):016x}",
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        }


def _require_measured(actions: Sequence[Action]) -> None:
    """Raises UsageError if an action monitors a split that no action evaluates."""
    measured = {action.measures for action in actions} - {None}
    for action in actions:
        if action.monitors and (split := action.monitors.partition("/")[0]) not in measured:
            raise UsageError(
                f"{type(action).__name__}.monitor = '{action.monitors}': no action evaluates the split '{split}': set "
                f"trainer.actions.evaluate.Evaluate.split = '{split}', or add another Evaluate with that split"
            )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "unknown"
