"""--mode=train: trains from where the run stands to its end, or until somebody asks it to stop."""

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from trainer import strategies
from trainer.actions.action import Action, Context
from trainer.data.pipeline import Input
from trainer.errors import UsageError
from trainer.loop import Controller
from trainer.reports import Reporter
from trainer.requests import Reason
from trainer.state import TrainState
from trainer.summaries import NoSummaries, Summaries

if TYPE_CHECKING:
    from trainer.experiment import Experiment


def run(experiment: "Experiment") -> int:
    """Trains; returns 0, or what a shell expects of a process that a signal ended."""
    attempt = Attempt(experiment)
    if attempt.nothing_left():
        return 0
    controller = Controller(
        experiment.step,
        attempt.input,
        attempt.reporter,
        attempt.actions,
        attempt.ledger,
        experiment.order.steps_per_epoch,
        experiment.steps_per_loop,
    )
    attempt.begin()
    try:
        step = controller.train(attempt.first_step, experiment.total_steps)
        attempt.end(step)
    finally:
        attempt.close()
        experiment.books.checkpoints.finish()
    return attempt.reason


class Attempt:
    """One attempt at a run: restores, and keeps the books around the loop. Writes nothing before `begin`.

    Raises:
      UsageError: the checkpoint is of another model.
    """

    def __init__(self, experiment: "Experiment"):
        self._experiment, self._invocation = experiment, experiment.invocation
        self._directory, self._console = experiment.books.directory, experiment.invocation.console
        self.ledger, self._requests = experiment.invocation.ledger, experiment.invocation.requests
        self._before, self._attempt = experiment.books.before, experiment.books.attempt
        self.reason = Reason.NONE
        self._summaries = (Summaries if experiment.ranks.first else NoSummaries)(self._directory.tensorboard)
        context = Context(
            total_steps=experiment.total_steps,
            steps_per_epoch=experiment.order.steps_per_epoch,
            evaluator=experiment.evaluator,
            summaries=self._summaries,
            console=self._console,
            ledger=self.ledger,
            save=self.save,
            save_failed=experiment.books.checkpoints.failed,
            should_stop=lambda: bool(self._requests.pending),
            ranks=experiment.ranks,
            attempt=self._attempt,
            poison=experiment.step.poison,
            scale_learning_rate=experiment.step.scale_learning_rate,
            release=experiment.step.release,
            parts=experiment.step.parts,
            fields=experiment.splits.train.fields,
        )
        self.actions = sorted((make(context) for make in experiment.actions), key=lambda action: action.turn)
        _require_measured(self.actions)
        self._state = TrainState(experiment.step, self.actions)
        saved = experiment.books.saved
        self.first_step = saved.step if saved else 0
        if saved:
            self._state.assign(saved.values)
        journal, self._repeated = self._directory.read_journal(), self._before.get("repeated_steps", 0)
        if journal:
            self.ledger.go_on(journal, saved.notes["goodput"] if saved else {})
            self._repeated += max(0, journal["step"] - self.first_step)
        self.reporter = Reporter(
            experiment.step,
            experiment.order,
            self.ledger,
            experiment.total_steps,
            self.first_step,
            self._requests,
            experiment.ranks,
        )
        known = self._before.get("metrics", {}).items()
        self.reporter.evaluation |= {
            name: value for name, value in known if value is not None
        }  # null: it was not finite
        self.input = Input(
            experiment.splits.train,
            experiment.order,
            experiment.layout,
            experiment.strategy,
            waiting=lambda: self.ledger.spend("data"),
        )

    def nothing_left(self) -> bool:
        """Whether an earlier attempt finished as much as is asked for; says so."""
        before = self._before
        # A run may have finished before its last step; what came after a checkpoint that was lost is to be done again.
        complete = before.get("status") == "finished" and self.first_step >= before["step"]
        if not complete or self._experiment.total_steps > max(before["total_steps"], self.first_step):
            return False
        self._console.say(
            f"this run is finished, at step {self.first_step:,}; to go on, raise its epochs or steps; "
            f"to start afresh, choose another run_dir"
        )
        self._say_where()
        return True

    def begin(self) -> None:
        """Takes the directory, writes down what is about to happen, and says it.

        Raises:
          UsageError: the directory is another process's, or was while this one started.
        """
        experiment, saved = self._experiment, self._experiment.books.saved
        self._directory.acquire()
        # What was restored, and the number of this attempt, were read before the lock was held.
        if experiment.ranks.first and self._directory.read_report() != self._before:
            raise UsageError(
                f"--run_dir={self._directory.path} was trained in by another process while this one started: "
                f"run the same command again"
            )
        self._directory.claim(self._attempt)
        self._require_shared()
        self._state.require_equal(experiment.ranks)
        experiment.books.checkpoints.clean()
        if experiment.ranks.first:
            experiment.keep()
        self._directory.write("config.gin", self._invocation.config)
        self._directory.write("operative_config.gin", self._invocation.operative())
        self._summaries.rewind(saved.notes["event_files"] if saved else [])
        if saved is None:
            self._summaries.text("config.gin", self._invocation.config)
            self._summaries.graph(experiment.evaluator.graph(experiment.splits.train.fields))
        self._directory.write_report(self._report("running", self.first_step))
        self.ledger.keep_journal(self._write_journal)
        self.ledger.write_entry()
        splits = {"train": experiment.splits.train, **experiment.splits.held_out()}
        sizes = ", ".join(f"{name} {len(source):,}" for name, source in splits.items())
        resumed = f"; goes on from step {saved.step:,}, attempt {self._attempt}" if saved else ""
        weights = sum(tf.size(v.value).numpy() for o in experiment.step.parts.objectives for v in o.variables)
        self._console.fact("run", f"{self._directory.path}{resumed}")
        self._console.fact("devices", strategies.describe(experiment.strategy))
        self._console.fact("data", f"{sizes} examples")
        for note in experiment.notes:
            self._console.fact("", note)
        self._console.fact(
            "model",
            f"{weights:,} trained weights, {experiment.layout.shards} shard(s) of "
            f"{experiment.layout.shard_size} examples a step",
        )
        self._console.fact("steps", f"{experiment.total_steps:,}, {experiment.order.steps_per_epoch:,} an epoch")
        self._invocation.begun()
        self._invocation.watch(experiment.step.arrivals.count)
        self.ledger.switch("other")

    def _require_shared(self) -> None:
        """Raises UsageError if this directory is not one and the same on all ranks. A collective."""
        ranks = self._experiment.ranks
        ranks.any(False)  # the first has claimed it by now
        seen = ranks.gather([self._directory.is_claimed(self._attempt)])[:, 0]
        if not seen.all():
            blind = ", ".join(map(str, np.flatnonzero(seen == 0)))
            raise UsageError(
                f"--run_dir={self._directory.path} of rank 0 is not seen by rank {blind}: name a folder on a mount "
                f"that all machines share"
            )

    def save(self, step: int) -> None:
        """Saves the state as of `step`, and the report with it. A collective."""
        with self.ledger.spend("checkpoint"):
            notes = {
                "examples": self._experiment.order.examples,
                "held_out": {name: len(source) for name, source in self._experiment.splits.held_out().items()},
                "shards": self._experiment.layout.shards,
                "xla": self._experiment.step.xla,
                "event_files": self._summaries.commit(),
                "goodput": self.ledger.seconds(),
            }
            report = self._report("running", step)
            self._experiment.books.checkpoints.save(
                step, self._state.read(), notes, committed=lambda: self._directory.write_report(report)
            )

    def end(self, step: int) -> None:
        """Saves once more, waits until all is on disk, and says how it went. A collective."""
        self.reason = Reason(int(self._experiment.ranks.largest([self._requests.pending])[0]))
        self.save(step)
        with self.ledger.spend("checkpoint"):
            self._experiment.books.checkpoints.wait()
        self.ledger.write_entry()
        self._directory.write_report(self._report("stopped" if self.reason else "finished", step))
        self._directory.write("operative_config.gin", self._invocation.operative())
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
        """Lets go of what is open; also after a failure."""
        self._console.close()
        for action in self.actions:
            action.close()
        self._summaries.commit()

    def _write_journal(self, entry: dict[str, Any]) -> None:
        latest = self.reporter.latest
        self._directory.write_journal({**entry, "step": latest.step if latest else self.first_step})

    def _say_where(self) -> None:
        self._console.fact("run", str(self._directory.path))
        self._console.fact("watch", f"tensorboard --logdir {self._directory.tensorboard}")

    def _report(self, status: str, step: int) -> dict[str, Any]:
        """What report.json holds."""
        rate = self.reporter.examples_per_second or self._before.get("examples_per_second", 0.0)
        packages = ("convoy-train", "tensorflow", "keras", "numpy")
        return {
            "status": status,
            "step": step,
            "total_steps": self._experiment.total_steps,
            "examples_seen": self._experiment.order.examples_before(step),
            "metrics": self.reporter.metrics(),
            "examples_per_second": round(rate, 1),
            "num_replicas": self._experiment.strategy.num_replicas_in_sync,
            "attempts": self._attempt,
            "repeated_steps": self._repeated,
            "goodput": {kind: round(seconds, 3) for kind, seconds in self.ledger.seconds().items()},
            "input_digest": f"{int(self._experiment.step.digest.numpy()) % (1 << 64):016x}",
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        }


def _require_measured(actions: Sequence[Action]) -> None:
    """Raises UsageError if an action waits for a value that no other one finds."""
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
