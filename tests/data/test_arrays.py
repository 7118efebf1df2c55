"""Arrays of any rank go in as they are, and what cannot be trained on is refused with what to do about it."""

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.base.errors import UsageError
from trainer.data.source import Field, Splits
from trainer.data.sources import arrays
from trainer.data.sources.arrays import Arrays, as_source
from trainer.data.splits import Subset


def of_rank(rank):
    shapes = {2: (5,), 3: (7, 5), 4: (8, 8, 3), 5: (4, 8, 8, 3)}
    return np.random.default_rng(rank).integers(0, 256, (20, *shapes[rank]), np.uint8)


def model_for(rank):
    body = {
        2: [],
        3: [layers.GRU(3)],
        4: [layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()],
        5: [layers.Conv3D(2, 3), layers.GlobalAveragePooling3D()],
    }
    return keras.Sequential([layers.Rescaling(1 / 255), *body[rank], layers.Dense(3)])


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_any_rank_trains_in_the_type_it_has(new_step, rank):
    data = {"x": of_rank(rank), "y": np.arange(20) % 3}
    loop, source = new_step(examples.classifier(lambda: model_for(rank)), data, batch_size=8, shards=2)
    batches = source.open(0)
    segment = next(batches.take(1))
    assert segment.block["x"].dtype == "uint8"
    before = examples.weights(loop)
    loop.train([segment])
    loop.train(batches.take(2))
    total, count = loop.read().losses["loss"]
    assert np.isfinite(total) and count == 20 / 8  # all examples of the epoch, in units of the batch size
    assert all((before[name] != value).any() for name, value in examples.weights(loop).items() if "kernel" in name)


def test_reading_gathers_by_index():
    source = Arrays({"x": np.arange(12).reshape(6, 2), "y": np.linspace(0, 1, 6)})
    read = source.read([4, 0, 4])
    assert read["x"].numpy().tolist() == [[8, 9], [0, 1], [8, 9]]
    assert read["y"].numpy().tolist() == [0.8, 0.0, 0.8]
    assert len(source) == 6 and source.fields["x"].shape == (2,)


def test_fields_know_the_range_of_whole_numbers():
    """Labels come as [N], [N, 1] and [N, tokens], and as floats."""
    labels = np.array([3, -1, 7])
    arrays = {"y": labels, "column": labels[:, None], "tokens": np.tile(labels[:, None], 2), "float": labels * 1.0}
    others = {"half": np.array([0.5, 1, 2]), "vectors": np.ones((3, 2)), "nan": np.array([1, np.nan, 2])}
    fields = Arrays(arrays | others).fields
    assert {fields[name][2:4] for name in arrays} == {(-1, 7)}
    assert {fields[name][2:4] for name in others} == {(None, None)}


@pytest.mark.parametrize(
    "data, message",
    [
        ({}, "has no fields"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2)}, "unequal length: 'x' 3, 'y' 2"),
        ({"x": np.zeros((0, 2))}, "is empty"),
        ({"x": np.array([{}, []], object)}, "'x' is not an array of examples .*object"),
        ({"x": np.float32(1)}, "'x' is not an array of examples .*rank 0"),
        ({"x": np.array(["a", "b"])}, "'x' is not an array of examples that are numbers .*<U1"),
        ({"x": np.zeros(2, "datetime64[s]")}, "'x' is not an array of examples that are numbers .*datetime64"),
        ({"x": [[1, 2], [3]]}, "'x' is no array.*give all examples one shape"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(data, message):
    with pytest.raises(UsageError, match=f"mine.*{message}"):
        Arrays(data, name="mine")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_when_asked(bad):
    x = np.zeros((1000, 2, 2), np.float32)
    x[[7, 300], 1] = bad
    with pytest.raises(UsageError, match="'x' has NaN or infinity in 2 of 1,000 examples, the first at index 7"):
        Arrays({"x": x, "y": np.arange(1000)}, check_finite=True)
    assert len(Arrays({"x": x})) == 1000


@pytest.mark.parametrize("data", [{"x": np.zeros((3, 2)), "y": np.arange(3)}, (np.zeros((3, 2)), np.arange(3))])
def test_loaders_may_return_a_dict_or_a_pair(data):
    splits = arrays.splits(train=lambda: data, test=lambda: data)
    assert list(splits.held_out()) == ["test"]
    for source in (splits.train, splits.test):
        assert source.read([2])["y"].numpy() == [2] and source.read([2])["x"].shape == (1, 2)


def test_loaders_may_return_a_source():
    source = Arrays({"x": np.zeros(3)})
    assert as_source(source) is source


@pytest.mark.parametrize("data", [[1, 2], np.zeros(3), None, (1, 2, 3)])
def test_loaders_that_return_something_else_are_told_what_to_return(data):
    with pytest.raises(UsageError, match=r"the validation data must be a dict of arrays, a pair \(x, y\) or a source"):
        arrays.splits(train=lambda: (np.zeros(3), np.zeros(3)), validation=lambda: data)


def test_npz_has_the_layout_of_keras_datasets(tmp_path):
    x, y = np.arange(6).reshape(3, 2), np.arange(3)
    np.savez(
        tmp_path / "all.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2], x_validation=x[:1], y_validation=y[:1]
    )
    np.savez(tmp_path / "other.npz", images_train=x, labels_train=y)
    splits = arrays.npz(tmp_path / "all.npz")
    assert [len(split) for split in splits[:3]] == [3, 1, 2]
    splits = arrays.npz(tmp_path / "other.npz", x="images", y="labels")
    assert splits == Splits(splits.train) and set(splits.train.fields) == {"x", "y"}
    assert (splits.train.read([0, 1, 2])["x"].numpy() == x).all()


def test_npz_that_lacks_an_array_names_those_there_are(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.zeros(3), y=np.zeros(3))
    with pytest.raises(UsageError, match=r"a\.npz has no array 'y_train'; it has: x_train, y"):
        arrays.npz(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_npz_is_named(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"cannot read {path}"):
        arrays.load_npz(path)
    with pytest.raises(UsageError, match=r"no such file: nowhere\.npz"):
        arrays.load_npz("nowhere.npz")
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(
        UsageError, match=r"a\.npy: it is an \.npy file, of one array without a name; give a file of np\.savez"
    ):
        arrays.load_npz(tmp_path / "a.npy")


def test_a_damaged_npz_is_named(tmp_path):
    """Of one flipped bit zipfile and zlib raise errors of many kinds; what is read nevertheless is not changed."""
    path, x = tmp_path / "a.npz", np.arange(40)
    np.savez_compressed(path, x=x)
    whole = path.read_bytes()
    refused = 0
    for byte in range(len(whole)):
        path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 1 << byte % 8]) + whole[byte + 1 :])
        try:
            assert all((array == x).all() for array in arrays.load_npz(path).values())
        except UsageError as error:
            assert (
                error.message.startswith(f"cannot read {path} as an .npz file, it may be damaged: ")
                and "\n" not in error.message
            )
            refused += 1
    assert refused > len(whole) / 2


def test_an_npz_of_objects_runs_nothing(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}], object))
    with pytest.raises(UsageError, match=r"a\.npz: 'x' holds Python objects: save it as"):
        arrays.load_npz(tmp_path / "a.npz")


class Picky:
    """Two examples, of which the second cannot be read."""

    def __init__(self):
        self.fields = {"x": Field((), "float32")}

    def __len__(self):
        return 2

    def read(self, indices):
        return {"x": tf.debugging.check_numerics(tf.gather([1.0, np.nan], indices), "it is")}


def test_what_fits_into_memory_is_read_once_and_the_rest_left_as_it_is(monkeypatch):
    source = Subset(Picky(), np.zeros(3, int))
    assert arrays.resident(source, "mine").read([0, 2])["x"].numpy().tolist() == [1, 1]
    with pytest.raises(UsageError, match=r"^mine: an example cannot be read: it is : Tensor had NaN values$"):
        arrays.resident(Picky(), "mine")
    monkeypatch.setattr(arrays, "RESIDENT_BYTES", 11)
    assert arrays.resident(source, "mine") is source


def test_what_is_read_counts_as_progress(tmp_path, progress):
    np.savez(tmp_path / "data.npz", x_train=np.zeros((3, 1 << 20), np.uint8), y_train=np.arange(3))
    assert progress(arrays.npz, str(tmp_path / "data.npz")) >= 3
    assert progress(arrays.resident, Arrays({"x": np.zeros(3000)}), "zeros") == 3


def test_arrays_become_tensors_without_the_lock(converted):
    data = {"x": np.arange(4.0), "y": np.arange(4)}
    Arrays(data)
    assert [id(array) for array in converted.to_tensors] == [id(array) for array in data.values()]
