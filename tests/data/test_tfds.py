"""Sets of TensorFlow Datasets: made here, in its own format, and read by index; any example, in any order."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.data.sources import arrays, text, tfds


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the set 'squares', as tfds keeps it: grey squares, pictures of several sizes, labels and texts."""
    library = pytest.importorskip("tensorflow_datasets", reason="the extra tfds is not installed")
    features = library.features

    class Squares(library.core.GeneratorBasedBuilder):
        VERSION = library.core.Version("1.0.0")

        def _info(self):
            return library.core.DatasetInfo(
                builder=self,
                features=features.FeaturesDict({
                    "image": features.Image(shape=(8, 8, 1)), "picture": features.Image(shape=(None, None, 3)),
                    "label": features.ClassLabel(names=["even", "odd", "neither"]), "text": features.Text(),
                    "id": np.int64,
                }),
                supervised_keys=("image", "label"),
            )  # fmt: skip

        def _split_generators(self, download):
            return {"train": self._generate_examples(20), "test": self._generate_examples(6)}

        def _generate_examples(self, count):
            for i in range(count):
                yield i, {
                    "image": np.full((8, 8, 1), i, np.uint8), "picture": np.full((5 + i % 3, 7, 3), 10 * i, np.uint8),
                    "label": i % 2, "text": f"number {i} is {('even', 'odd')[i % 2]}", "id": i,
                }  # fmt: skip

    path = tmp_path_factory.mktemp("tfds")
    library.disable_progress_bar()
    Squares(data_dir=path).download_and_prepare()
    return str(path)


def everything(source):
    return {name: values.numpy() for name, values in source.read(tf.range(len(source), dtype=tf.int64)).items()}


def test_images_and_labels_are_what_the_set_is_learned_by(folder):
    splits = tfds.load("squares", folder=folder)
    assert (len(splits.train), splits.validation, len(splits.test)) == (20, None, 6)
    assert splits.train.fields == {"x": Field((8, 8, 1), "uint8", 0, 19), "y": Field((), "int64", 0, 1)}
    found = everything(splits.train)
    assert sorted(found["x"][:, 0, 0, 0]) == list(range(20))
    np.testing.assert_array_equal(found["x"][:, 3, 3, 0] % 2, found["y"])


@pytest.mark.parametrize("bytes_in_memory", [1 << 30, 0])
def test_pictures_of_any_size_are_resized_whether_they_fit_into_memory_or_not(folder, monkeypatch, bytes_in_memory):
    monkeypatch.setattr(arrays, "RESIDENT_BYTES", bytes_in_memory)
    fields = {"x": "picture", "number": "id", "y": "label"}
    source = tfds.load("squares", fields, train="train[:50%]", test=None, size=(4, 6), folder=folder).train
    assert isinstance(source, arrays.Arrays) == bool(bytes_in_memory) and len(source) == 10
    assert source.fields["x"][:2] == ((4, 6, 3), "uint8")
    indices = tf.constant([7, 0, 3, 3], tf.int64)
    found = tf.function(source.read)(indices)
    np.testing.assert_array_equal(found["x"][:, 2, 2, 1], 10 * found["number"])
    np.testing.assert_array_equal(found["y"], found["number"] % 2)
    assert found["number"][2] == found["number"][3] and len(set(found["number"].numpy())) == 3


def test_parts_of_splits_have_no_example_in_common(folder):
    splits = tfds.load(
        "squares", {"x": "id"}, train="train[:60%]", validation="train[60%:]", test="test", folder=folder
    )
    parts = [everything(each)["x"].tolist() for each in (splits.train, splits.validation)]
    assert [len(each) for each in parts] == [12, 8] and sorted([*parts[0], *parts[1]]) == list(range(20))


def test_texts_are_for_the_source_of_texts(folder):
    splits = text.labelled(lambda: tfds.texts("squares", folder=folder), lambda: text.Words(30, 4))
    assert (len(splits.train), len(splits.test)) == (20, 6)
    found, words = everything(splits.train), splits.train.fields["x"].vocabulary
    for numbers, label in zip(found["x"], found["y"], strict=True):
        assert words[numbers[3]] == ("even", "odd")[label] and words[numbers[0]] == "number"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "cubes"}, "Dataset cubes not found.*load.name = 'cubes'"),
        ({"train": "training"}, "no split 'training'; it has: train, test"),
        ({"train": "train[:0%]"}, "holds no example"),
        ({"fields": {"x": "colour"}}, "no feature 'colour'; there are: .*image"),
        ({"fields": {"x": "picture"}}, "'picture' has the shape .*: set load.size"),
        ({"fields": {"x": "text"}}, "'text' holds no numbers of one shape"),
    ],
)
def test_what_is_not_there_is_named(folder, options, says):
    with pytest.raises(UsageError, match=says):
        tfds.load(**{"name": "squares", "folder": folder, **options})


def test_a_file_that_is_cut_off_is_refused_with_the_place(folder, tmp_path):
    import shutil

    shutil.copytree(f"{folder}/squares", tmp_path / "squares")
    (file,) = (tmp_path / "squares" / "1.0.0").glob("squares-test.tfrecord*")
    with file.open("rb+") as stream:
        stream.truncate(file.stat().st_size - 3)
    with pytest.raises(UsageError, match=r"squares-test.*is cut off.*record 5, at byte"):
        tfds.load("squares", folder=str(tmp_path))


def test_texts_count_as_progress(folder, progress):
    assert progress(tfds.texts, "squares", "text", "label", "train", None, "test", folder) == 26
