"""The whole product against Keras `fit`: the same model, data, batch size, optimizer and epochs.

    python -m benchmarks.against_fit mlp|cnn [--rounds=5] [--epochs=3]

Both sides run as processes of their own, in turn. Convoy's is the real command with shuffling, metrics, digest,
TensorBoard and a checkpoint per epoch; its time is all of its training, waiting, saving and bookkeeping after the first
call. fit's side is the tutorial's program, `steps_per_execution=100`, nothing saved; its time is its epochs after the
first. Neither includes start-up and compilation.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BATCH_SIZE = 32


def fit(model: str, epochs: int) -> dict[str, float]:
    """Runs Keras's side in this process; returns examples per second and the mean training loss of each epoch."""
    import time

    import keras

    from benchmarks.digits import arrays

    images, labels = arrays()
    images = images / 255.0
    layers = keras.layers
    if model == "mlp":
        stack = [
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    else:
        images = images[..., None]
        stack = [
            layers.Conv2D(32, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ]
    network = keras.Sequential([layers.Input(images.shape[1:]), *stack])
    network.compile(
        keras.optimizers.Adam(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=100,
    )
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    history = network.fit(
        images.astype("float32"), labels, batch_size=BATCH_SIZE, epochs=epochs, verbose=0, callbacks=[clock]
    )
    rate = len(images) * (epochs - 1) / (ends[-1] - ends[0])
    return {"rate": rate, "loss": history.history["loss"][-1]}


def convoy(model: str, epochs: int) -> dict[str, float]:
    """Runs the real command; returns the same."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "trainer.main", "--gin_file=benchmarks/digits.gin", f"--model={model}"),
            *(f"--run_dir={folder}/run", f"--gin_param=EPOCHS = {epochs}"),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report = json.loads((Path(folder) / "run" / "report.json").read_text())
    seconds = sum(report["goodput"][kind] for kind in ("stepping", "data", "checkpoint", "other"))
    return {"rate": report["examples_seen"] / seconds, "loss": report["metrics"]["train/loss"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=["mlp", "cnn"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--fit", action="store_true", help="run fit's side alone, and print it as JSON")
    arguments = parser.parse_args()
    if arguments.fit:
        print(json.dumps(fit(arguments.model, arguments.epochs)))
        return 0
    found: dict[str, list[dict[str, float]]] = {"fit": [], "convoy": []}
    for number in range(arguments.rounds):
        command = [sys.executable, "-m", "benchmarks.against_fit", arguments.model, "--fit"]
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        output = subprocess.run(
            [*command, f"--epochs={arguments.epochs}"],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        found["fit"].append(json.loads(output.stdout.splitlines()[-1]))
        found["convoy"].append(convoy(arguments.model, arguments.epochs))
        both = "  ".join(f"{side} {runs[-1]['rate']:,.0f}" for side, runs in found.items())
        print(f"round {number + 1}: {both} examples/s", flush=True)
    for side, runs in found.items():
        rates, losses = ([run[name] for run in runs] for name in ("rate", "loss"))
        print(
            f"{side:<7} {statistics.median(rates):>9,.0f} examples/s ({min(rates):,.0f} to {max(rates):,.0f})  "
            f"loss of the last epoch {statistics.median(losses):.4f}"
        )
    medians = {side: statistics.median(run["rate"] for run in runs) for side, runs in found.items()}
    losses = {side: statistics.median(run["loss"] for run in runs) for side, runs in found.items()}
    # Near zero, where the convolutional network gets to soon, a quotient of losses says nothing.
    if abs(losses["convoy"] - losses["fit"]) > max(0.15 * losses["fit"], 0.002):
        print("void: the losses did not fall alike")
        return 1
    print(f"convoy / fit = {medians['convoy'] / medians['fit']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
