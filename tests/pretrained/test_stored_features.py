"""Features that a frozen network makes of data: computed once, and never taken for those of another network or data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Splits
from trainer.data.sources.arrays import Arrays
from trainer.pretrained import stored_features


def splits(n=40, seed=0, changed=None):
    rng = np.random.default_rng(seed)
    parts = [{"x": rng.normal(size=(k, 6)).astype(np.float32), "y": np.arange(k) % 3} for k in (n, 10)]
    if changed is not None:
        parts[0]["x"][changed, 3] += 1.0
    return Splits(Arrays(parts[0]), test=Arrays(parts[1]), notes=("a note",))


def network(scale=1.0):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name="dense")], name="network")
    model.layers[0].kernel.assign(scale * np.arange(24, dtype=np.float32).reshape(6, 4))
    return model


def read(source):
    return {name: value.numpy() for name, value in source.read(tf.range(len(source), dtype=tf.int64)).items()}


def stored(*arguments, **options):
    """The splits of a run that has begun."""
    found = stored_features.stored(*arguments, **options)
    found.keep()
    return found.splits


def test_features_stand_for_the_field_and_are_computed_once(tmp_path):
    first = stored(splits(), tmp_path, network, batch_size=16)
    for split, source in {"train": first.train, "test": first.test}.items():
        plain = read(getattr(splits(), split))
        np.testing.assert_allclose(read(source)["x"], plain["x"] @ np.arange(24).reshape(6, 4), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(read(source)["y"], plain["y"])
    assert first.notes == ("a note", f"features of 50 examples, 50 of them computed now; kept in {tmp_path}")
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = stored(splits(), tmp_path, network)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written and len(written) == 2
    assert again.notes[-1].startswith("features of 50 examples, 0 of them computed now")
    np.testing.assert_array_equal(read(again.train)["x"], read(first.train)["x"])


def test_other_fields_stay_what_they_are(tmp_path):
    plain = splits()
    plain.train.fields["y"] = plain.train.fields["y"]._replace(vocabulary=("no", "yes"))
    assert stored(plain, tmp_path, network).train.fields["y"].vocabulary == ("no", "yes")


@pytest.mark.parametrize(
    "other, computed",
    [
        ({"model": lambda: network(2.0)}, 50),
        ({"splits": splits(seed=1)}, 50),
        ({"splits": splits(n=41)}, 51),
        ({"splits": splits(changed=17)}, 40),
    ],
)
def test_what_something_else_has_made_is_never_taken(tmp_path, other, computed):
    stored(splits(), tmp_path, network)
    found = stored(**{"splits": splits(), "directory": tmp_path, "model": network} | other)
    assert found.notes[-1].split(", ")[1].startswith(f"{computed} of them computed now")


def test_the_weights_are_part_of_what_made_them(tmp_path):
    def start():
        def assign(parts, fields):
            parts.models["model"].layers[0].bias.assign(np.ones(4, np.float32))
            return "4 weights"

        return assign

    plain = stored(splits(), tmp_path, network)
    moved = stored(splits(), tmp_path, network, start)
    assert moved.notes[1] == "4 weights"
    np.testing.assert_allclose(read(moved.train)["x"], read(plain.train)["x"] + 1, rtol=1e-5, atol=1e-4)


def test_nothing_is_written_before_the_run_has_begun(tmp_path):
    folder = tmp_path / "features"
    found = stored_features.stored(splits(), folder, network)
    assert len(found.splits.train) == 40 and not folder.exists()
    found.keep()
    assert len(list(folder.iterdir())) == 2


def test_a_network_that_is_not_built_yet_starts_from_weights(tmp_path):
    def start():
        return lambda parts, fields: f"{len(parts.models['model'].weights)} weights"

    assert stored(splits(), tmp_path, lambda: keras.Sequential([keras.layers.Dense(2)]), start).notes[1] == "2 weights"


def test_refusals(tmp_path):
    with pytest.raises(UsageError, match=r"stored.field = 'z': the data has: x, y"):
        stored(splits(), tmp_path, network, field="z")
    stored(splits(), tmp_path, network)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"cannot read .*_train.npz.*remove it"):
        stored(splits(), tmp_path, network)


def test_weights_batches_and_chunks_count_as_progress(tmp_path, progress, converted):
    def deep():
        return keras.Sequential([keras.Input((6,)), *(keras.layers.Dense(1) for _ in range(20))])

    found = []
    assert progress(lambda: found.append(stored_features.stored(splits(), tmp_path, deep, batch_size=1))) >= 130
    assert progress(found[0].keep) >= 2  # a file for each of two splits
    converted.to_bytes.clear()
    # Of each split 40 weights; but no batch, as nothing is computed.
    assert 80 < progress(stored_features.stored, splits(), tmp_path, deep) < 130
    assert len(converted.to_bytes) == 2 * (40 + 1 + 2)  # and what it makes of two examples, and two fields
