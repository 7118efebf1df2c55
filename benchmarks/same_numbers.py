"""Whether two states of the project compute the same, bit for bit: input digests, all losses of all steps, all tensors.

    python -m benchmarks.same_numbers record CHECKOUT FOLDER    runs the cases with the modules of CHECKOUT
    python -m benchmarks.same_numbers compare FOLDER FOLDER     prints a table; exit 1 where anything differs

Names that the two checkouts do not share are in RENAMED. Runs one process at a time; takes about five minutes per side.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

# Module before -> module now: a checkout that has not got the latter is given the former.
RENAMED = {"trainer.arithmetic": "trainer.step.arithmetic"}
_TWO_DEVICES = ("--strategy=mirrored",)
_TWO_WORKERS = ("--launcher=ray", "--num_workers=2", "--strategy=multi_worker")


class Case(NamedTuple):
    """run: a run file.  bindings: gin text after it.  steps: how many."""

    run: str
    bindings: str
    steps: int = 100


_DIGITS = "trainer.experiment.run.data = @trainer.data.sources.samples.mnist_digits"
_PHOTO = """PHOTO = 'photo.png'
trainer.data.sources.images.photos.longest = 96
trainer.tasks.deepdream.DeepDream.octaves = 2
CHECKPOINT_EVERY = 4
EVALUATE_EVERY = 4
"""
CASES = {
    "dense": Case("mnist_mlp", f"{_DIGITS}\ntrainer.arithmetic.Arithmetic.clip_norm = 1.0"),
    "dense_float16": Case("mnist_mlp", f"{_DIGITS}\ntrainer.arithmetic.Arithmetic.precision = 'mixed_float16'"),
    "dense_batchnorm": Case("mnist_regularized", "trainer.arithmetic.Arithmetic.average_decay = 0.9"),
    "convolutional": Case("emoji_augment", "IMAGES = 'images'", 40),  # with BatchNormalization and random layers
    "recurrent": Case("weather_gru", ""),
    "two_objectives": Case("gan", _DIGITS, 30),
    "image": Case("deepdream", _PHOTO, 12),
}
VARIANTS = {"one_device": (), "two_devices": _TWO_DEVICES}


def record(checkout: Path, folder: Path) -> int:
    """Runs every case with the modules of a checkout; leaves what came of each in FOLDER/CASE_VARIANT.npz."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_images(folder)
    runs = [(name, variant, flags) for name in CASES for variant, flags in VARIANTS.items()]
    for name, variant, flags in [*runs, ("convolutional", "two_workers", _TWO_WORKERS)]:
        run_dir = folder / f"{name}_{variant}"
        overlay = folder / f"{name}.gin"
        overlay.write_text(_overlay(checkout, CASES[name]))
        command = [sys.executable, "-m", "trainer.main", f"--gin_file=runs/{CASES[name].run}.gin",
                   f"--gin_file={overlay}", f"--run_dir={run_dir}", *flags]  # fmt: skip
        environment = os.environ | {"PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            print(f"{run_dir.name}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            return 1
        _keep(run_dir, folder / f"{run_dir.name}.npz")
        print(run_dir.name, flush=True)
    return 0


def _write_images(folder: Path) -> None:
    """photo.png; and images/, cuts of a photo in nine folders."""
    from skimage import data, io

    photo = data.chelsea()
    io.imsave(folder / "photo.png", photo[:120, :160])
    for number in range(9 * 20):
        row, column = divmod(number * 37, 200)
        file = folder / "images" / str(number % 9) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        io.imsave(file, photo[row * 7 % 230 :, column:][:64, :64], check_contrast=False)


def _overlay(checkout: Path, case: Case) -> str:
    lines = [
        "from __gin__ import dynamic_registration",
        "import trainer.experiment",
        "import trainer.actions.log",
        "import trainer.data.sources.samples",
        "import trainer.data.sources.images",
        "import trainer.tasks.deepdream",
        "import trainer.arithmetic",
        "SHARDS = 2",
        "trainer.actions.log.Log.every = 1",
        "trainer.experiment.run.epochs = None",
        f"trainer.experiment.run.steps = {case.steps}",
        case.bindings,
    ]
    text = "\n".join(lines) + "\n"
    for before, now in RENAMED.items():
        if (checkout / f"{now.replace('.', '/')}.py").exists():
            text = text.replace(before, now)
    return text


def _keep(run_dir: Path, file: Path) -> None:
    import numpy as np
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    newest = max((run_dir / "checkpoints").glob("step_????????"))
    reader = tf.train.load_checkpoint(str(newest / "state"))
    found = {f"tensor/{name}": reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    found["digest"] = np.array(json.loads((run_dir / "report.json").read_text())["input_digest"])
    events = EventAccumulator(str(run_dir / "tensorboard" / "train"), {"tensors": 0}).Reload()
    for tag in events.Tags()["tensors"]:
        if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars" and tag not in _TIMES:
            points = sorted((event.step, make_ndarray(event.tensor_proto).item()) for event in events.Tensors(tag))
            found[f"scalar/{tag}"] = np.array(points)
    np.savez(file, **found)


_TIMES = ("examples_per_second", "waiting_for_data")


def compare(one: Path, other: Path) -> int:
    """Prints, for each case, how much was compared and what differs; returns 1 if anything does."""
    import numpy as np

    differing = 0
    print("| case | digest | steps | scalars | tensors | differing |\n| --- | --- | --- | --- | --- | --- |")
    files = sorted({path.name for folder in (one, other) for path in folder.glob("*.npz")})
    for name in files:
        if not (one / name).exists() or not (other / name).exists():
            print(f"| {name} | in one folder alone |")
            differing += 1
            continue
        a, b = (dict(np.load(folder / name)) for folder in (one, other))
        wrong = sorted(a.keys() ^ b.keys()) + [
            key for key in a.keys() & b.keys() if a[key].dtype != b[key].dtype or a[key].tobytes() != b[key].tobytes()
        ]
        kinds = [sum(key.startswith(kind) for key in a) for kind in ("scalar/", "tensor/")]
        steps = max(len(points) for key, points in a.items() if key.startswith("scalar/"))
        print(f"| {name[:-4]} | {a['digest']} | {steps} | {kinds[0]} | {kinds[1]} | {', '.join(wrong) or 'nothing'} |")
        differing += len(wrong)
    return 1 if differing or not files else 0


if __name__ == "__main__":
    action, first, second = sys.argv[1:]
    sys.exit({"record": record, "compare": compare}[action](Path(first).absolute(), Path(second).absolute()))
