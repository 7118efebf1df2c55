"""Every loss, metric and optimizer of Keras on two devices: what one device comes to."""

from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).parent.parent / "keras_classes.py"
# One of each kind: with a divisor of its own, of sequences, of images; means, counts at thresholds, a matrix, moments;
# fused, with a weight of its own for each variable.
SAMPLE = [
    "SparseCategoricalCrossentropy", "CTC", "Dice", "RootMeanSquaredError", "AUC", "MeanIoU", "R2Score", "AdamW",
    "ScheduleFreeAdamW",
]  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize("names", [SAMPLE, pytest.param([], marks=pytest.mark.slow)], ids=["sample", "all"])
def test_two_devices_come_to_what_one_does(run_program, tmp_path, names):
    for replicas in (1, 2):
        run_program(PROGRAM, replicas, tmp_path / f"{replicas}.npz", *names)
    one, two = (dict(np.load(tmp_path / f"{replicas}.npz")) for replicas in (1, 2))
    assert one.keys() == two.keys() and {name.split("/")[0] for name in one} == {"losses", "metrics", "optimizers"}
    for key, value in one.items():
        scale = max(np.abs(value).max(), 1e-3)
        np.testing.assert_allclose(two[key], value, rtol=0, atol=1e-5 * scale, err_msg=key)
