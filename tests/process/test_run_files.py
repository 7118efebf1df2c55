"""Every run file trains, under the overlay that makes it short, and reports what the contract promises."""

import json
import pydoc_data.topics

import numpy as np
import pytest
import reading
import tensorflow as tf
from running import CHECKOUT

pytestmark = pytest.mark.process

# What a run works on is smaller here as well: it is evaluated as a whole, which would take most of the time.
FEW_REVIEWS = """
from __gin__ import dynamic_registration

from trainer.data import splits
from trainer.data.sources import text

text.table.cut = @splits.share
splits.share.test = 0.01
"""
SMALL_PHOTOS = """
from __gin__ import dynamic_registration

from trainer.data.sources import images

images.photos.longest = 128
"""

KINDS = {"startup", "compilation", "stepping", "data", "evaluation", "checkpoint", "other"}
# Each is of a kind of which another one stays: texts, transfer, MNIST, pictures.
SLOW = {
    "imdb_conv1d.gin", "imdb_embedding.gin", "imdb_glove.gin", "imdb_gru_bidirectional.gin", "transfer_features.gin",
    "transfer_frozen.gin", "mnist_cnn.gin", "mnist_mlp.gin", "mnist_regularized.gin", "mnist_separable.gin", "style_transfer.gin", "explain.gin", "titanic_kfold.gin",
}  # fmt: skip
FILES = [
    pytest.param(path.name, marks=pytest.mark.slow if path.name in SLOW else ())
    for path in sorted((CHECKOUT / "gin" / "runs").glob("*.gin"))
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where a command is given: a folder `data` has small ones of the files that no package brings."""
    folder = tmp_path_factory.mktemp("place")
    random = np.random.default_rng(0)
    for number in range(9):
        (folder / "data" / "emoji" / str(number)).mkdir(parents=True)
    pictures = [f"emoji/{number % 9}/{number}.png" for number in range(90)]
    photos = [
        "chelsea.png",
        "coffee.png",
        "butterfly.jpg",
        "starry_night.jpg",
        "china.jpg",
        "astronaut.png",
        "flower.jpg",
    ]
    (folder / "data" / "photos").mkdir()
    for name in (*pictures, *(f"photos/{photo}" for photo in photos)):
        image = random.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        encode = tf.io.encode_jpeg if name.endswith(".jpg") else tf.io.encode_png
        (folder / "data" / name).write_bytes(encode(image).numpy())
    words = {word: random.normal(size=102).tolist() for word in ("the", "film", "good", "bad")}
    (folder / "data" / "vectors.json").write_text(json.dumps({"words": [], "vectors": words}))
    (folder / "imdb.gin").write_text(FEW_REVIEWS)
    for name in ("deepdream", "style", "explain"):
        (folder / f"{name}.gin").write_text(SMALL_PHOTOS)
    (folder / "data" / "bible.txt").write_text("".join(pydoc_data.topics.topics.values())[:50_000])
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_run_file_trains(convoy, place, tmp_path, name):
    run_dir = tmp_path / "run"
    files = [f"runs/{name}", "overlays/tiny.gin"]
    smaller = name.removesuffix(".gin").partition("_")[0] + ".gin"
    if (place / smaller).exists():
        files.append(smaller)
    result = convoy(*(f"--gin_file={file}" for file in files), f"--run_dir={run_dir}", cwd=place)
    assert result.code == 0, result.err
    report = reading.report(run_dir)
    assert report.keys() >= {
        "step", "examples_seen", "metrics", "examples_per_second", "num_replicas", "attempts", "goodput",
        "input_digest", "versions",
    }  # fmt: skip
    assert (report["step"], report["attempts"], report["num_replicas"]) == (6, 1, 1)
    assert 0 < report["examples_seen"] <= 48
    assert report["metrics"] and report["examples_per_second"] > 0
    assert report["goodput"].keys() >= KINDS and sum(report["goodput"].values()) > 0
    assert int(report["input_digest"], 16)
    assert {"tensorflow", "keras"} <= report["versions"].keys()
    assert reading.checkpoints(run_dir) == [6]
    assert (run_dir / "config.gin").exists() and (run_dir / "operative_config.gin").exists()
    assert reading.scalars(run_dir, "train")
    if name.removesuffix(".gin") in ("vae", "gan", "deepdream", "style_transfer", "explain"):
        assert list((run_dir / "images").glob("*.png"))
