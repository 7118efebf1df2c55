"""Weights from elsewhere: whole models, files of weights; by pattern, renamed; and what is refused."""

import keras
import numpy as np
import pytest
from keras import layers

from trainer.base.errors import UsageError
from trainer.pretrained.warm_start import WarmStart
from trainer.rundir.checkpoints import Checkpoints
from trainer.storage.local import LocalStore
from trainer.tasks.protocol import Parts


def network(outputs=4, first="first", seed=0):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([
        keras.Input((6,)), layers.Dense(5, name=first), layers.BatchNormalization(name="norm"), layers.Dropout(0.5),
        layers.Dense(outputs, name="head"),
    ], name="network")  # fmt: skip
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(seed).normal(size=variable.shape))
    return model


def weights(model):
    return {
        v.path: np.array(v) for v in model.trainable_variables + model.non_trainable_variables if "seed" not in v.path
    }


def start(path, network, **options):
    return WarmStart(str(path), **options)(Parts([], {"model": network}), {})


@pytest.fixture(params=["model.keras", "model.h5", "model.hdf5", "model.weights.h5"])
def saved(request, tmp_path):
    """A file of a network, and its weights."""
    model, path = network(seed=1), tmp_path / request.param
    model.save_weights(path) if request.param.endswith(".weights.h5") else model.save(path)
    return path, weights(model)


def test_a_whole_model_or_a_file_of_weights_is_taken_whole(saved):
    path, expected = saved
    model = network(seed=2)
    assert start(path, model) == f"8 of 8 weights taken from {path}"
    for name, value in weights(model).items():
        np.testing.assert_array_equal(value, expected[name])


def test_by_pattern_only_those_weights_are_taken(tmp_path):
    network(seed=1).save(tmp_path / "model.keras")
    model, before = network(outputs=7, seed=2), weights(network(outputs=7, seed=2))
    assert (
        start(tmp_path / "model.keras", model, pattern="first|norm")
        == f"6 of 8 weights taken from {tmp_path}/model.keras"
    )
    after = weights(model)
    assert {name for name in after if not np.array_equal(after[name], before[name])} >= {
        "network/first/kernel",
        "network/norm/gamma",
    }
    np.testing.assert_array_equal(after["network/head/kernel"], before["network/head/kernel"])
    with pytest.raises(
        UsageError, match=r"'network/head/kernel' has shape \[5, 4\] in .*, and \[5, 7\] in the model: leave it out"
    ):
        start(tmp_path / "model.keras", model)


def test_names_elsewhere_may_be_mended(tmp_path):
    network(seed=1, first="erste").save(tmp_path / "model.keras")
    model = network(seed=2)
    assert start(tmp_path / "model.keras", model).startswith("6 of 8")
    assert start(tmp_path / "model.keras", model, rename={"^erste/": "first/"}).startswith("8 of 8")


def test_refusals_name_what_is_there(tmp_path):
    network(seed=1).save(tmp_path / "model.keras")
    before = weights(model := network(seed=2))
    for options, says in (
        (
            {"pattern": "lstm"},
            "none of the 8 weights of the model is in .* and matches 'lstm'; the model has 'network/first/bias'",
        ),
        ({"pattern": "("}, "is not a regular expression"),
        ({"model": "encoder"}, "WarmStart.model = 'encoder': the task has: model"),
    ):
        with pytest.raises(UsageError, match=says):
            start(tmp_path / "model.keras", model, **options)
    (tmp_path / "text.txt").write_text("no weights")
    (tmp_path / "broken.keras").write_text("no model")
    (tmp_path / "folder").mkdir()
    for name, says in (
        ("none.keras", "there is no .*none.keras"), ("text.txt", "name a run directory, a .keras"),
        ("broken.keras", "cannot read .*broken.keras"), ("folder", "no run directory with a checkpoint"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            start(tmp_path / name, model)
    assert all(np.array_equal(value, before[name]) for name, value in weights(model).items())


@pytest.fixture
def run(tmp_path):
    """A run directory with two checkpoints; returns it and what it was saved with, by step."""
    keeper, values = Checkpoints(LocalStore(tmp_path / "run"), attempt=1), {}
    for step in (1, 2):
        plain = {f"models/model/{name}": value for name, value in weights(network(seed=step)).items()}
        averages = {f"average/loss/{name}": value + 1 for name, value in weights(network(seed=step)).items()}
        values[step] = plain | {name: value for name, value in averages.items() if "moving" not in name}
        keeper.save(step, values[step], {})
    keeper.wait()
    return tmp_path / "run", values


def test_of_a_run_the_averages_are_taken_which_it_is_judged_by(run):
    path, values = run
    model = network(seed=5)
    assert start(path, model) == f"8 of 8 weights taken from {path}"
    for name, value in weights(model).items():
        np.testing.assert_array_equal(value, values[2].get(f"average/loss/{name}", values[2][f"models/model/{name}"]))
    assert not np.array_equal(weights(model)["network/first/kernel"], values[2]["models/model/network/first/kernel"])


def test_a_checkpoint_of_a_run_that_is_damaged_is_passed_over(run, capsys):
    path, values = run
    newest = path / "checkpoints" / "step_00000002"
    (newest / "manifest.json").unlink()
    start(path, model := network(seed=5))
    np.testing.assert_array_equal(
        weights(model)["network/first/kernel"], values[1]["average/loss/network/first/kernel"]
    )
    assert "step_00000002 is damaged" in capsys.readouterr().out and newest.exists()


def test_two_names_never_become_one(tmp_path):
    network(seed=1).save(tmp_path / "model.keras")
    with pytest.raises(UsageError, match="'first/kernel' and 'head/kernel' both become 'same/kernel'"):
        start(tmp_path / "model.keras", network(), rename={"^(network/)?(first|head)/": "same/"})
    with pytest.raises(UsageError, match="WarmStart.rename: '\\^second' matches none of the names in .*'first/bias'"):
        start(tmp_path / "model.keras", network(), rename={"^second": "third"})
    with pytest.raises(UsageError, match=r"WarmStart.rename: '\\2' cannot stand for '\^first': invalid group"):
        start(tmp_path / "model.keras", network(), rename={"^first": r"\2"})


def test_weights_that_cannot_hold_numbers_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, dtype="bfloat16")])
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(UsageError, match="kernel' is kept in bfloat16.*mixed_bfloat16"):
        start(tmp_path / "model.weights.h5", model)


def counted(outputs=6, layers_before=0, extra=0):
    """A model whose layers have the names that Keras gives them, after some others were made."""
    keras.utils.clear_session(free_memory=False)
    for _ in range(layers_before):
        layers.Dense(1)
    model = keras.Sequential([keras.Input((6,)), *(layers.Dense(6) for _ in range(3 + extra)), layers.Dense(outputs)])
    for i, layer in enumerate(model.layers):
        layer.set_weights([np.full(w.shape, i + 1.0) for w in layer.get_weights()])
    return model


def kernels(model):
    return [float(np.ravel(layer.kernel)[0]) for layer in model.layers]


def test_places_in_a_file_of_weights_are_trusted_if_as_many_were_counted(tmp_path):
    """'layers/dense_3' is the fourth Dense layer, whichever that is."""
    path = tmp_path / "model.weights.h5"
    counted().save_weights(path)
    model = counted(outputs=7)
    assert start(path, model, pattern=r"dense(_[12])?/") == f"6 of 8 weights taken from {path}"
    model = counted(extra=1)
    with pytest.raises(UsageError, match="'layers/dense/vars/0' is a name that Keras counted.*WarmStart.pattern"):
        start(path, model)
    renamed = {"^layers/dense_2/": "layers/dense_4/"}
    assert start(path, model, rename=renamed, pattern="dense_4/") == f"2 of 10 weights taken from {path}"
    assert kernels(model) == [1, 2, 3, 4, 3]


@pytest.mark.parametrize("file", ["model.keras", "model.h5"])
@pytest.mark.parametrize("before, after", [(0, 1), (1, 0), (0, 0)])
def test_layers_that_keras_counted_are_matched_by_their_places(tmp_path, file, before, after):
    counted(layers_before=before).save(tmp_path / file)
    model = counted(layers_before=after)
    for layer in model.layers:
        layer.set_weights([np.zeros(w.shape) for w in layer.get_weights()])
    assert start(tmp_path / file, model).startswith("8 of 8")
    assert kernels(model) == [1, 2, 3, 4]


def test_where_layers_differ_counted_names_are_refused(tmp_path):
    counted(extra=1).save(tmp_path / "model.keras")
    model = counted()
    for options in ({}, {"pattern": "dense_1"}):
        with pytest.raises(
            UsageError, match=r"'sequential/dense.*' is a name that Keras counted, and .*model.keras has"
        ):
            start(tmp_path / "model.keras", model, **options)
    assert kernels(model) == [1, 2, 3, 4]
    # Who says which layer is which is believed.
    renamed = {"^(.*dense)": r"old_\1", "^old_dense_3/": "dense_1/"}
    assert start(tmp_path / "model.keras", model, rename=renamed).startswith("2 of 8")
    assert kernels(model) == [1, 4, 3, 4]


@pytest.mark.parametrize("extra", [0, 1])
def test_of_a_run_counted_names_are_believed_if_all_are_the_same(tmp_path, extra):
    keeper = Checkpoints(LocalStore(tmp_path / "run"), attempt=1)
    keeper.save(1, {f"models/model/{name}": value for name, value in weights(counted(extra=extra)).items()}, {})
    keeper.wait()
    if extra:
        with pytest.raises(UsageError, match="is a name that Keras counted"):
            start(tmp_path / "run", counted())
    else:
        assert start(tmp_path / "run", counted()).startswith("8 of 8")


def test_a_model_of_a_run_may_have_another_name(tmp_path):
    keeper = Checkpoints(LocalStore(tmp_path / "run"), attempt=1)
    keeper.save(1, {f"models/encoder/{name}": value for name, value in weights(network(seed=1)).items()}, {})
    keeper.wait()
    with pytest.raises(UsageError, match="WarmStart.source_model: .*run has no model 'model'; it has: encoder"):
        start(tmp_path / "run", network())
    model = network()
    assert start(tmp_path / "run", model, source_model="encoder").startswith("8 of 8")
    np.testing.assert_array_equal(
        weights(model)["network/first/kernel"], weights(network(seed=1))["network/first/kernel"]
    )
    network().save(tmp_path / "model.keras")
    with pytest.raises(UsageError, match="WarmStart.source_model = 'encoder': .*model.keras is no run directory"):
        start(tmp_path / "model.keras", network(), source_model="encoder")


def test_copies_of_a_network_keep_their_own_weights(tmp_path):
    def twins(first, second):
        copies = [keras.Sequential([keras.Input((3,)), layers.Dense(3, name="stem")]) for _ in range(2)]
        x = keras.Input((3,))
        model = keras.Model(x, copies[1](copies[0](x)))
        for copy, value in zip(copies, (first, second), strict=True):
            copy.set_weights([np.full(w.shape, value) for w in copy.get_weights()])
        return model

    twins(1.0, 2.0).save(tmp_path / "twins.keras")
    start(tmp_path / "twins.keras", model := twins(0.0, 0.0))
    assert [float(w.ravel()[0]) for w in model.get_weights()] == [1, 1, 2, 2]


def test_every_weight_counts_as_progress(tmp_path, progress, converted):
    model, taken = network(seed=1), 8
    model.save(tmp_path / "model.keras")
    assert progress(start, tmp_path / "model.keras", network(seed=2)) == taken
    model.save_weights(tmp_path / "model.weights.h5")
    # This file is read; and names are found by numbers, to which all are set, which are written, read, and set back.
    expected = taken + taken + 2 * len(model.variables) + taken
    converted.to_tensors.clear()
    assert progress(start, tmp_path / "model.weights.h5", network(seed=2)) == expected
    assert len(converted.to_tensors) == 2 * len(model.variables) + taken
