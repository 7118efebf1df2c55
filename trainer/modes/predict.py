"""--mode=predict: writes what the newest checkpoint puts out for every example of an input."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.source import Source
from trainer.data.sources.arrays import Arrays, load_npz
from trainer.errors import UsageError
from trainer.modes.evaluate import restore

if TYPE_CHECKING:
    from trainer.experiment import Experiment


def run(experiment: "Experiment") -> int:
    """Writes an .npz file with one array an output, one row an example, in the input's order.

    `--input=FILE.npz` holds an array for each field the task reads; without it the test split is predicted (validation
    if there is no other). `--output` defaults to RUN_DIR/predictions.npz.
    """
    step = restore(experiment)
    options, directory = experiment.invocation.options, experiment.invocation.directory
    source = _source(experiment, options.get("input"))
    output = Path(options.get("output") or directory.path / "predictions.npz")
    if not output.parent.is_dir():
        raise UsageError(f"--output={output}: there is no folder {output.parent}")
    outputs = experiment.evaluator.predict(source)
    with output.open("wb") as file:
        np.savez(file, **outputs)  # type: ignore[arg-type]
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
    experiment.invocation.console.say(f"step {step:,}  {len(source):,} examples  {shapes}")
    experiment.invocation.console.fact("output", str(output))
    return 0


def _source(experiment: "Experiment", path: str | None) -> Source:
    if path is None:
        held_out = experiment.splits.held_out()
        if not held_out:
            raise UsageError("the data has no held-out split: name what to predict with --input=FILE.npz")
        return held_out.get("test") or next(iter(held_out.values()))
    arrays = load_npz(path)
    fields = experiment.splits.train.fields
    for name, array in arrays.items():
        if name in fields and array.shape[1:] != fields[name].shape:
            raise UsageError(
                f"--input={path}: '{name}' has examples of shape {list(array.shape[1:])}; the run was trained on "
                f"{list(fields[name].shape)}"
            )
    if not arrays.keys() & fields.keys():
        raise UsageError(
            f"--input={path}: has none of the fields that the run was trained on, {_listed(fields)}; "
            f"it has {_listed(arrays)}"
        )
    return Arrays({name: array for name, array in arrays.items() if name in fields}, name=path)


def _listed(names) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))
