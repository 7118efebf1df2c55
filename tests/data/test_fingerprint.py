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
    "gap": np.where(np.arange(100) % 2, np.nan, 1.0).astype(np.float32),
}


def of(**changes):
    return fingerprint(Arrays(DATA | changes))


def test_it_is_of_the_contents_and_survives_a_file():
    assert differing(json.loads(json.dumps(of())), of()) == []
    assert differing(of(), of(x=DATA["x"].copy(), real=DATA["real"] * np.float32(1 + 1e-6))) == []


@pytest.mark.parametrize(
    "changes, fields",
    [
        ({"y": np.roll(DATA["y"], 1)}, ["y"]),
        ({"x": DATA["x"][::-1].copy(), "real": DATA["real"] + 1}, ["real", "x"]),
        ({"y": DATA["y"] + 1}, ["y"]),
        ({"real": DATA["real"] * 1.01}, ["real"]),
        ({"more": np.zeros(100)}, ["more"]),
    ],
)
def test_what_differs_is_named(changes, fields):
    assert differing(of(), of(**changes)) == fields


def test_a_single_example_is_enough():
    one = fingerprint(Arrays({"x": np.ones((1, 2), np.float32)}))
    assert one == {"x": [1.0]} and differing(one, one) == []
