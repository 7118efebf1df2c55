"""--mode=evaluate: evaluates the newest checkpoint on every held-out split. Changes nothing in the run directory."""

import json
import os
from pathlib import Path

from trainer.base.errors import UsageError
from trainer.modes.records import Experiment
from trainer.modes.state import TrainState
from trainer.storage import atomic


def run(experiment: Experiment) -> int:
    """Prints losses and metrics of each split; `--output=FILE.json` also writes them there, as JSON."""
    output = experiment.invocation.options.get("output")
    if output:
        output = writable(output, ".json")
    step = restore(experiment)
    results = {split: experiment.evaluator.evaluate(split) for split in experiment.evaluator.sources}
    for split, values in results.items():
        listed = "  ".join(f"{name} {value:.6g}" for name, value in (values or {}).items())
        experiment.invocation.console.say(f"step {step:,}  {split}  {listed}")
    if output:
        with atomic.replacing(output) as file:
            file.write_text(json.dumps({"step": step, **results}, indent=1) + "\n")
    return 0


def writable(output: str | Path, suffix: str) -> Path:
    """The file that --output names. Raises UsageError if it cannot be written, or does not end with `suffix`."""
    path = Path(output).expanduser()
    if path.suffix != suffix:
        raise UsageError(f"--output={output}: name a file that ends with {suffix}")
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"--output={output}: name a file in a folder that exists and can be written to")
    return path


def restore(experiment: Experiment) -> int:
    """Loads the newest checkpoint, and returns its step.

    Raises:
      UsageError: there is no checkpoint, or it is of a different model.
    """
    if experiment.resumption.saved is None:
        raise UsageError(
            f"--run_dir={experiment.invocation.directory.where} holds no checkpoint: train there first, "
            f"or name the directory of a run that has trained"
        )
    TrainState(experiment.device_loop.state).assign(experiment.resumption.saved.values)
    return experiment.resumption.saved.step
