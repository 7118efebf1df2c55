"""Fingerprints: equal for the same contents, however they are held; other contents of the same size are named."""

import json

import numpy as np
import pytest

from trainer.data.fingerprint import differing, fingerprint
from trainer.data.sources.arrays import Arrays

RANDOM = np.random.default_rng(0)
DATA = {
    "x": RANDOM.integers(0, 256, (100, 8, 8), np.uint8),
    "y": RANDOM.integers(0, 10, 100),
    "real": RANDOM.normal(size=(100, 3)).astype(np.float32),
    "photo": RANDOM.integers(0, 256, (100, 96, 96, 3), np.uint8),
    "standard": (lambda x: (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True))(RANDOM.normal(size=(100, 50))),
    "one_hot": np.eye(3, dtype=np.float32)[np.arange(100) % 3],
    "words": RANDOM.integers(0, 30_000, (100, 50)),
    "gap": np.where(np.arange(100) % 2, np.nan, 1.0).astype(np.float32),
}


def of(**changes):
    return fingerprint(Arrays(DATA | changes))


def test_it_is_of_the_contents_and_survives_a_file():
    assert differing(json.loads(json.dumps(of())), of()) == []
    assert differing(of(), of(x=DATA["x"].copy(), real=DATA["real"] * np.float32(1 + 1e-6))) == []


def test_decoders_may_round_differently():
    for name in ("x", "photo"):
        moved = DATA[name] + RANDOM.integers(-1, 2, DATA[name].shape)
        assert differing(of(), of(**{name: moved.clip(0, 255).astype(np.uint8)})) == []


@pytest.mark.parametrize(
    "changes, fields",
    [
        ({"y": np.roll(DATA["y"], 1)}, ["y"]),
        ({"x": DATA["x"][::-1].copy(), "real": DATA["real"] + 1}, ["real", "x"]),
        ({"y": DATA["y"] + 1}, ["y"]),
        ({"real": DATA["real"] * 1.01}, ["real"]),
        ({"more": np.zeros(100)}, ["more"]),
        ({"photo": DATA["photo"][:, :, ::-1].copy()}, ["photo"]),
        ({"photo": DATA["photo"][..., ::-1].copy()}, ["photo"]),
        ({"standard": np.roll(DATA["standard"], 1, axis=0)}, ["standard"]),
        ({"real": DATA["real"][:, ::-1].copy()}, ["real"]),
        ({"one_hot": np.roll(DATA["one_hot"], 1, axis=1)}, ["one_hot"]),
        ({"words": DATA["words"] + (np.arange(50) == 7)}, ["words"]),
    ],
)
def test_what_differs_is_named(changes, fields):
    assert differing(of(), of(**changes)) == fields


def test_a_single_example_is_enough():
    one = fingerprint(Arrays({"x": np.ones((1, 2), np.float32)}))
    assert len(one["x"]) == 1 and differing(one, one) == []


def test_every_field_counts_as_progress(progress):
    assert progress(of) == len(DATA) + 1  # and reading them
