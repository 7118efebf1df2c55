"""Runs every program of the tutorial in full, and compares what it reaches with what it must reach.

    python -m benchmarks.tutorial FOLDER [NAME …]

FOLDER takes the runs, FOLDER/NAME each; a run that is finished there is not trained again. Prints a table, one row
per program as it ends, writes it to FOLDER/tutorial.md, and ends with 1 if one of them misses. To be given where
benchmarks.tutorial_data has put data/. On two cores all of it takes about an hour.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.lifecycle.quiet_imports import quiet_imports

ROOT = Path(__file__).resolve().parents[1]


class Found(NamedTuple):
    """What a program has come to, in words, and whether that is enough."""

    reached: str
    enough: bool


class Program(NamedTuple):
    """A row of the table.

    teaches: what of the study guide it is about.
    must: what it must reach, in words.
    judge: given the folder of all runs, says what it has reached; what it needs besides the run it makes itself.
    """

    name: str
    teaches: str
    must: str
    judge: Callable[[Path], Found]


def trainer(name: str, run_dir: Path, *flags: str) -> None:
    """Runs a run file to its end; raises CalledProcessError with what it said if that fails."""
    _call("trainer.main", f"--gin_file=runs/{name}.gin", f"--run_dir={run_dir}", *flags)


def _call(module: str, *flags: str) -> None:
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-m", module, *flags], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": search},
    )  # fmt: skip


def report(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / "report.json").read_text())


def metric(name: str, teaches: str, key: str, least: float | None = None, most: float | None = None) -> Program:
    """A program that must bring one metric to a bound."""

    def judge(folder: Path) -> Found:
        trainer(name, folder / name)
        value = report(folder / name)["metrics"][key]
        return Found(f"{value:.4g}", value >= least if least is not None else value <= (most or 0.0))

    bound = f">= {least:g}" if least is not None else f"<= {most:g}"
    return Program(name, teaches, f"{key} {bound}", judge)


def scalars(run_dir: Path, part: str, tag: str) -> np.ndarray:
    """What TensorBoard shows of a run."""
    from trainer.observe.curves import scalars as read

    return read(run_dir)[part][tag][1]


def _regularized(folder: Path) -> Found:
    plain = [f"--gin_param=regularized.regularized.{name} = 0.0" for name in ("l1", "l2", "dropout")]
    plain.append("--gin_param=regularized.regularized.batch_normalization = False")
    trainer("mnist_regularized", folder / "mnist_regularized")
    trainer("mnist_regularized", folder / "mnist_regularized_plain", *plain)
    best = [
        min(scalars(folder / name, "eval/validation", "cross_entropy"))
        for name in ("mnist_regularized", "mnist_regularized_plain")
    ]
    return Found(f"{best[0]:.3f} against {best[1]:.3f}", best[0] < best[1])


def _kfold(folder: Path) -> Found:
    flags = ["--folds=10", "--at_once=2", "--gin_file=runs/titanic_kfold.gin"]
    _call("launch.sweep", f"--run_dir={folder / 'titanic_kfold'}", *flags)
    folds = json.loads((folder / "titanic_kfold" / "sweep.json").read_text()).values()
    areas = [fold["test/auc"] for fold in folds]
    return Found(f"AUC {np.mean(areas):.3f}, deviation {np.std(areas, ddof=1):.3f}", len(areas) == 10)


def _multi_io(folder: Path) -> Found:
    trainer("functional_multi_io", folder / "functional_multi_io")
    losses = {head: scalars(folder / "functional_multi_io", "eval", f"{head}/loss") for head in ("distance", "origin")}
    said = ", ".join(f"{head} {values[0]:.3g} to {values[-1]:.3g}" for head, values in losses.items())
    return Found(said, all(values[-1] < values[0] for values in losses.values()))


def _emoji(folder: Path) -> Found:
    trainer("emoji_augment", folder / "emoji_augment")
    counts = [len(list(kind.glob("*.png"))) for kind in Path("data/emoji").iterdir()]
    value, majority = report(folder / "emoji_augment")["metrics"]["test/accuracy"], max(counts) / sum(counts)
    return Found(f"{value:.3f}, majority {majority:.3f}", value >= majority + 0.2)


def _beats(name: str, teaches: str, other: str) -> Program:
    def judge(folder: Path) -> Found:
        for each in (other, name):
            trainer(each, folder / each)
        mine, theirs = (report(folder / each)["metrics"]["test/accuracy"] for each in (name, other))
        return Found(f"{mine:.3f} against {theirs:.3f}", mine > theirs)

    return Program(name, teaches, f"beats {other}", judge)


def _weather(folder: Path) -> Found:
    with quiet_imports():
        from trainer.data.sources import samples, windows

    trainer("weather_gru", folder / "weather_gru")
    path = samples.file("vega_datasets", "_data/seattle-weather.csv")
    series = samples.column(path, ["precipitation", "temp_max", "temp_min", "wind"])
    test = windows.splits(lambda: series, past=14, target=1).test
    assert test is not None
    held_out = test.read(np.arange(len(test)))
    naive = float(np.mean(np.square(held_out["x"].numpy()[:, -1, 1] - held_out["y"].numpy())))
    value = report(folder / "weather_gru")["metrics"]["test/loss"]
    return Found(f"{value:.4f} squared against {naive:.4f}", value < naive)


def _gan(folder: Path) -> Found:
    trainer("gan", folder / "gan")
    trainer("gan", folder / "gan", "--mode=predict")
    trainer("mnist_cnn", folder / "mnist_cnn")
    with np.load(folder / "gan" / "predictions.npz") as made:
        np.savez(folder / "made.npz", x=np.round(made["image"][..., 0] * 255).astype(np.uint8))
    flags = [f"--input={folder / 'made.npz'}", f"--output={folder / 'judged.npz'}"]
    trainer("mnist_cnn", folder / "mnist_cnn", "--mode=predict", *flags)
    with np.load(folder / "judged.npz") as judged:
        logits = judged["output"] - judged["output"].max(axis=1, keepdims=True)
    sure = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).max(axis=1) > 0.8
    return Found(f"sure of {sure.mean():.2f} of {len(sure):,}", bool(sure.mean() > 0.5))


def _falls(name: str, teaches: str, times: float) -> Program:
    def judge(folder: Path) -> Found:
        trainer(name, folder / name)
        first, *_, last = scalars(folder / name, "train", "loss")
        bound = first / times if first > 0 else first * times  # what is maximised has a loss below 0
        return Found(f"{first:.4g} to {last:.4g}", bool(last <= bound))

    return Program(name, teaches, f"loss falls {times:g}-fold", judge)


# Of each photo: the rows and columns between which the object is, as shares of height and width.
_OBJECTS = {"cat": (0, 1, 0.1, 0.75), "coffee": (0.05, 0.9, 0.12, 0.8), "butterfly": (0.2, 0.85, 0, 1)}


def _explain(folder: Path) -> Found:
    trainer("explain", folder / "explain")
    trainer("explain", folder / "explain", "--mode=predict")
    found = {}
    with np.load(folder / "explain" / "predictions.npz") as outputs:
        for name, (top, bottom, left, right) in _OBJECTS.items():
            heat = outputs[f"{name}_heat"][0]
            rows = (np.arange(heat.shape[0]) + 0.5) / heat.shape[0]
            columns = (np.arange(heat.shape[1]) + 0.5) / heat.shape[1]
            inside = ((rows > top) & (rows < bottom))[:, None] & ((columns > left) & (columns < right))
            found[name] = heat[inside].sum() / heat.sum(), inside.mean()
    said = ", ".join(f"{name} {share:.2f} in {area:.2f} of the area" for name, (share, area) in found.items())
    return Found(said, all(share > area and share > 0.75 for share, area in found.values()))


# Of each word, others that one would expect to be near it.
_NEIGHBOURS = {
    "excellent": {"superb", "outstanding", "perfect", "brilliant", "wonderful", "terrific", "fantastic", "great"},
    "terrible": {"horrible", "awful", "bad", "dreadful", "worst", "lousy", "atrocious", "poor"},
    "actor": {"actress", "actors", "starring", "starred", "role", "star", "performer"},
}


def _projector(folder: Path) -> Found:
    trainer("embedding_projector", folder / "embedding_projector")
    shown = folder / "embedding_projector" / "tensorboard" / "train"
    words = (shown / "meta.tsv").read_text(encoding="utf-8").split("\n")  # a word may be another end of a line
    vectors = np.loadtxt(shown / "vecs.tsv", delimiter="\t")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = {}
    for word in _NEIGHBOURS:
        order = np.argsort(-(vectors @ vectors[words.index(word)]))
        near[word] = [words[i] for i in order[1:4]]
    said = "; ".join(f"{word}: {', '.join(others)}" for word, others in near.items())
    return Found(said, all(set(others) & _NEIGHBOURS[word] for word, others in near.items()))


PROGRAMS = [
    metric("mnist_mlp", "the first program", "test/accuracy", least=0.975),
    metric("mnist_cnn", "convolutions, a subclassed model", "test/accuracy", least=0.985),
    Program(
        "mnist_regularized",
        "L1, L2, dropout, BatchNorm, EarlyStopping, ReduceLROnPlateau",
        "lower validation loss than plain",
        _regularized,
    ),
    metric("mnist_separable", "separable convolutions, strides, padding, pooling", "test/accuracy", least=0.98),
    metric("titanic", "a table with gaps, precision, recall, AUC, class weights", "test/auc", least=0.80),
    Program("titanic_kfold", "repeated k-fold cross-validation", "mean and deviation of 2 x 5 folds", _kfold),
    Program(
        "functional_multi_io",
        "a functional model, two inputs, two outputs, loss weights",
        "both losses fall",
        _multi_io,
    ),
    Program("emoji_augment", "image folders, augmentation, a CNN from scratch", "20 points above the majority", _emoji),
    _beats("transfer_features", "features of a pretrained network, computed once", "emoji_augment"),
    _beats("transfer_frozen", "a head on a frozen network", "transfer_features"),
    _beats("finetune", "its last blocks trained from a step on", "transfer_frozen"),
    metric("imdb_embedding", "learned word vectors, masks", "test/accuracy", least=0.83),
    metric("imdb_glove", "pretrained word vectors", "test/accuracy", least=0.80),
    metric("imdb_lstm", "LSTM, recurrent dropout", "test/accuracy", least=0.83),
    metric("imdb_gru_bidirectional", "GRU in both directions", "test/accuracy", least=0.83),
    metric("imdb_conv1d", "convolutions in time", "test/accuracy", least=0.83),
    Program("weather_gru", "a time series", "beats the naive guess", _weather),
    metric("digits_ctc", "CTC: strips of digits", "test/exact", least=0.65),
    metric("text_lstm", "a model of characters that writes", "test/loss", most=1.6),
    metric("vae", "a variational autoencoder", "test/loss", most=110),
    Program("gan", "two objectives in one step", "a classifier is sure (> 0.8) of most", _gan),
    _falls("deepdream", "an image is what is trained; octaves", 5),
    _falls("style_transfer", "Gram matrices, total variation", 5),
    Program("explain", "activations, filters, Grad-CAM", "heat on the object in three photos", _explain),
    Program("embedding_projector", "TensorBoard's projector", "sensible neighbours", _projector),
]


def main(folder: Path, names: Sequence[str]) -> int:
    """Runs the named programs, or all; returns the exit status."""
    if unknown := set(names) - {program.name for program in PROGRAMS}:
        sys.exit(f"no program is called {', '.join(sorted(unknown))}")
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["| run | what it teaches | must reach | reached | |", "| --- | --- | --- | --- | --- |"]
    print("\n".join(rows), flush=True)
    missed = False
    for program in PROGRAMS:
        if names and program.name not in names:
            continue
        try:
            found = program.judge(folder)
        except subprocess.CalledProcessError as error:
            found = Found(f"failed: {error.stderr.strip().splitlines()[-1] if error.stderr.strip() else error}", False)
        except Exception as error:  # one that cannot be judged must not keep the others from it
            found = Found(f"failed: {error!r}", False)
        missed |= not found.enough
        verdict = "yes" if found.enough else "**no**"
        rows.append(f"| {program.name} | {program.teaches} | {program.must} | {found.reached} | {verdict} |")
        print(rows[-1], flush=True)
        (folder / "tutorial.md").write_text("\n".join(rows) + "\n")
    return int(missed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="takes the runs")
    parser.add_argument("names", nargs="*", help="programs; default: all")
    options = parser.parse_args()
    sys.exit(main(options.folder.absolute(), options.names))
