"""docs/keras.md, made from the tables of the tests: what of Keras works here, and what is refused.

python tests/keras_docs.py          writes it
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / folder) for folder in ("", "step", "tasks"))]

import layers as with_layers  # noqa: E402
import test_keras_layers as of_layers  # noqa: E402
import test_keras_losses as of_losses  # noqa: E402
import test_keras_metrics as of_metrics  # noqa: E402
import test_keras_optimizers as of_optimizers  # noqa: E402

FILE = ROOT / "docs" / "keras.md"
HEAD = """# What of Keras works here

Made from the tables of the tests by `python tests/keras_docs.py`, for the Keras that setup.py allows. A class of Keras that is
in none of these tables fails a test, so that somebody says what is right of it.

"Equal" means: held to Keras's own number in one process, to a relative 1e-5 (weights after four steps: 1e-4), and to the same
on two devices (tests/step/test_keras_classes.py). What is refused is refused in one line, with the remedy, before anything is
written.
"""
REFUSED_LOSSES = {
    "Circle": "depends on the shards: it compares the examples of a shard with each other, as Keras does those of a batch; set SHARDS",
}
REFUSED_OPTIMIZERS = {
    "LossScaleOptimizer": "refused: Arithmetic.precision = 'mixed_float16' scales the loss",
    "MultiOptimizer": "refused: a task has an Objective for each group of variables",
}


def table(head, rows):
    return "\n".join(
        [f"| {head} | |", "| --- | --- |", *(f"| {name} | {verdict} |" for name, verdict in sorted(rows.items()))]
    )


def given(arguments):
    return f" ({', '.join(f'{name} = {value!r}' for name, value in arguments.items())})" if arguments else ""


def text():
    losses = {name: f"equal{given(arguments)}" for name, (_, _, arguments) in of_losses.VALUES.items()}
    metrics = {name: f"equal{given(arguments)}" for name, (_, _, arguments) in of_metrics.OF_TWO.items()}
    optimizers = {name: f"equal{given(arguments)}" for name, arguments in of_optimizers.OPTIMIZERS.items()}
    layers = dict.fromkeys(with_layers.LAYERS, "equal on two devices")
    layers |= dict.fromkeys(of_layers.REFUSED, "refused: it draws while it is traced")
    return "\n\n".join([
        HEAD.strip(),
        "## Losses\n\nWith each reduction that is a mean, with and without weights of examples; masks and `ignore_class` have\n"
        "Keras's divisor. `reduction = 'sum'` is refused, and so is a loss that returns one number for a whole batch.",
        table("loss", losses | REFUSED_LOSSES),
        "## Metrics\n\nIn batches of any size, the last of which is padded. One whose result has several numbers is refused.",
        table("metric", metrics),
        "## Optimizers\n\nWith weight decay and a schedule, and resumed bit for bit. Their own clipping, accumulation, averaging and\n"
        "loss scaling are refused, since the step does all of these; and so is an optimizer that holds another one.",
        table("optimizer", optimizers | REFUSED_OPTIMIZERS),
        "## Layers\n\nAll that have weights, state or random numbers: two shards on one device and on two. Layers with\n"
        "`stateful = True` or `synchronized = True` are refused, and so are those that count examples in an integer.",
        table("layer", layers),
    ]) + "\n"  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(text())
