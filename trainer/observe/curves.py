"""Learning curves of one or several runs as a PNG file, smoothed as TensorBoard smooths them.

    python -m trainer.observe.curves RUN_DIR [RUN_DIR …] [--tags=loss,accuracy] [--smoothing=0.6] [--output=curves.png]

Faint: the logged values; strong: their exponential moving average; dashed: evaluation. Changes no run directory.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.base.errors import UsageError
from trainer.lifecycle.process_exit import guarded
from trainer.lifecycle.quiet_imports import quiet_imports


def scalars(run_dir: Path) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The scalars that TensorBoard shows of a run: part ('train', 'eval' …) -> tag -> steps and values, float64 [n].

    Raises:
      UsageError: there are no event files, or no scalars in them.
    """
    with quiet_imports():
        import tensorflow  # noqa: F401  which TensorBoard would load later
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray

    root = run_dir / "tensorboard"
    folders = sorted({path.parent for path in root.rglob("*tfevents*")})
    if not folders:
        raise UsageError(f"{run_dir} is no run directory with anything in {root}")
    found: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for folder in folders:
        events = EventAccumulator(str(folder), {"tensors": 0})  # 0: keep all
        events.Reload()
        tags = {}
        for tag in events.Tags()["tensors"]:
            if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                pairs = sorted((event.step, make_ndarray(event.tensor_proto).item()) for event in events.Tensors(tag))
                steps, values = zip(*pairs, strict=True)
                tags[tag] = (np.array(steps), np.array(values, np.float64))
        found[str(folder.relative_to(root))] = tags
    if not any(found.values()):
        raise UsageError(f"{run_dir} has logged no numbers yet: try again when it has, or leave it out")
    return found


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Returns s[t] / (1 - weight^(t+1)) with s[t] = weight s[t-1] + (1 - weight) values[t] and s[-1] = 0, float64 [n].

    The division corrects the bias of starting at 0, as in TensorBoard. Values that are not finite are left out.
    """
    found, total, count = np.empty_like(values), 0.0, 0.0
    for t, value in enumerate(values):
        if np.isfinite(value):
            total, count = weight * total + (1 - weight) * value, weight * count + (1 - weight)
        found[t] = total / count if count else value
    return found


def names(runs: Sequence[Path]) -> dict[Path, str]:
    """A name for each run directory, without repetitions: its path from the innermost folder that contains them all."""
    paths = [Path(os.path.abspath(run)) for run in runs]
    holder = os.path.commonpath([path.parent for path in paths])
    return {path: str(path.relative_to(holder)) for path in paths}


def draw(runs: Sequence[Path], tags: Sequence[str] | None, smoothing: float, output: Path) -> None:
    """Writes one PNG file: a panel for each tag, a colour for each run.

    Args:
      runs: run directories.
      tags: None: all that were evaluated; without evaluations, the training loss.
      smoothing: weight of the moving average, from 0 (none) to below 1.
      output: the PNG file.

    Raises:
      UsageError: nothing to show, a tag that no run has, `output` cannot be written, or matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UsageError("curves are drawn with matplotlib: pip install 'convoy-train[tutorial]'") from error
    if not 0.0 <= smoothing < 1.0:
        raise UsageError(f"--smoothing={smoothing}: give a number from 0 (none) to below 1")
    if output.suffix != ".png" or output.is_dir():
        raise UsageError(f"--output={output}: name a file that ends with .png")
    found = {name: scalars(run) for run, name in names(runs).items()}
    there = sorted({tag for parts in found.values() for values in parts.values() for tag in values})
    evaluated = {tag for parts in found.values() for part, values in parts.items() if part != "train" for tag in values}
    wanted = list(tags) if tags else sorted(evaluated) or ["loss"]
    for tag in wanted:
        if tag not in there:
            raise UsageError(f"--tags: no run has '{tag}'; there are: {', '.join(there)}")
    figure = Figure(figsize=(6 * len(wanted), 4), layout="constrained", dpi=120)
    panels = figure.subplots(1, len(wanted), squeeze=False)
    for panel, tag in zip(panels[0], wanted, strict=True):
        for number, (name, parts) in enumerate(found.items()):
            for part, values in parts.items():
                if tag in values:
                    steps, numbers = values[tag]
                    colour, dashed = f"C{number % 10}", part != "train"
                    panel.plot(steps, numbers, color=colour, alpha=0.2, linestyle="--" if dashed else "-")
                    panel.plot(steps, smooth(numbers, smoothing), color=colour, linestyle="--" if dashed else "-",
                               label=f"{name} {part}")  # fmt: skip
        panel.set_title(tag)
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    from trainer.observe import pictures  # now that TensorFlow, which it imports, has been loaded

    try:
        pictures.save(output, np.asarray(canvas.buffer_rgba()))
    except OSError as error:
        raise UsageError(f"--output={output} cannot be written: {error.strerror}") from error


def main(argv: Sequence[str]) -> int:
    """Draws what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.observe.curves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--tags", type=lambda text: text.split(","), help="default: all that were evaluated")
    parser.add_argument("--smoothing", type=float, default=0.6, help="from 0, none, to below 1")
    parser.add_argument("--output", type=Path, default=Path("curves.png"), help="the picture")
    options = parser.parse_args(argv)
    draw(options.runs, options.tags, options.smoothing, options.output)
    print(options.output)
    return 0


if __name__ == "__main__":
    guarded(lambda: main(sys.argv[1:]))
