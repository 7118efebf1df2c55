"""--mode=predict: writes the outputs of the newest checkpoint for every example of an input. Trains nothing."""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from trainer.base.errors import UsageError, building
from trainer.data.source import Source
from trainer.data.sources.arrays import Arrays, load_npz
from trainer.modes.evaluate import restore, writable
from trainer.modes.records import Experiment
from trainer.observe import pictures
from trainer.storage import atomic

# Number of examples that the task's `samples` is given.
_SHOWN = 16


def run(experiment: Experiment) -> int:
    """Writes an .npz file with one array per output, [examples, …], in the input's order.

    `--input=FILE.npz` holds an array for each field the task reads; without it the test split is predicted (validation
    if there is no other). `--output` defaults to RUN_DIR/predictions.npz. If the task implements Showing, its images
    and texts of held-out examples go to a folder of the same name, RUN_DIR/predictions, as PNG and text files.

    Raises:
      UsageError: input or output cannot be used, or there is no checkpoint.
    """
    options, directory = experiment.invocation.options, experiment.invocation.directory
    output = writable(options["output"], ".npz") if options.get("output") else directory.path / "predictions.npz"
    shown_in = output.with_suffix("")
    if shown_in.is_file():
        raise UsageError(
            f"--output={output}: images and texts go to a folder {shown_in}, but that is a file: choose another name"
        )
    source = _source(experiment, options.get("input"))
    step = restore(experiment)
    with building("predictions"):
        outputs = experiment.evaluator.predict(source)
    with atomic.replacing(output) as file:
        np.savez(file, **outputs)  # type: ignore[arg-type]
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
    experiment.invocation.console.say(f"step {step:,}  {len(source):,} examples  {shapes}")
    experiment.invocation.console.fact("output", directory.shown(output))
    if experiment.evaluator.has_samples:
        with building("what the task shows"):
            shown = experiment.evaluator.samples(_SHOWN, seed=0)
        _show(shown_in, shown)
        experiment.invocation.console.fact("shown", directory.shown(shown_in))
    directory.send(contextlib.nullcontext)  # where RUN_DIR is remote
    return 0


def _show(folder: Path, shown: Mapping[str, np.ndarray]) -> None:
    folder.mkdir(exist_ok=True)
    for name, values in shown.items():
        kind, _, plain = name.partition("/")
        if kind == "images":
            pictures.save(folder / f"{plain}.png", pictures.grid(values))
        else:
            (folder / f"{plain}.txt").write_bytes(b"\n\n".join(values.tolist()) + b"\n")


def _source(experiment: Experiment, path: str | None) -> Source:
    if path is None:
        held_out = experiment.examples.splits.held_out()
        if not held_out:
            raise UsageError("the data has no held-out split: name what to predict with --input=FILE.npz")
        return held_out.get("test") or next(iter(held_out.values()))
    try:
        arrays = load_npz(path)
    except UsageError as error:
        raise UsageError(f"--input={path}: {error.message}") from None
    fields = experiment.examples.splits.train.fields
    for name in arrays.keys() & fields.keys():
        array, field = arrays[name], fields[name]
        if array.shape[1:] != field.shape or not np.can_cast(array.dtype, field.dtype, "same_kind"):
            raise UsageError(
                f"--input={path}: '{name}' has examples of shape {list(array.shape[1:])} and type {array.dtype}; the "
                f"run was trained on {list(field.shape)} and {field.dtype}"
            )
        arrays[name] = array.astype(field.dtype)
        if array.dtype.kind in "iu" and not np.array_equal(arrays[name], array):
            raise UsageError(
                f"--input={path}: '{name}' has numbers from {array.min()} to {array.max()}; the run was trained on "
                f"{field.dtype}"
            )
    if not arrays.keys() & fields.keys():
        raise UsageError(
            f"--input={path}: has none of the fields that the run was trained on, {_listed(fields)}; "
            f"it has {_listed(arrays)}"
        )
    return Arrays({name: array for name, array in arrays.items() if name in fields}, name=path)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))
