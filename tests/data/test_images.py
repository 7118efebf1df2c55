"""Images in folders: decoded, resized, labelled by folder; what is broken is named."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.data.sources import images
from trainer.errors import UsageError


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = tf.io.encode_jpeg if path.suffix == ".jpg" else tf.io.encode_png
    path.write_bytes(encode(array).numpy())


@pytest.fixture
def folder(tmp_path):
    """Two classes, 'dark' and 'light', of ten images each."""
    for i in range(10):
        save(tmp_path / "dark" / f"{i}.png", np.full((8, 8, 3), i, np.uint8))
        save(tmp_path / "light" / f"{i}.png", np.full((8, 8, 3), 200 + i, np.uint8))
    return tmp_path


def read(source):
    return {name: tensor.numpy() for name, tensor in source.read(tf.range(len(source), dtype=tf.int64)).items()}


def test_each_class_is_split_alike_and_numbered_by_name(folder):
    splits = images.folders(str(folder), size=(8, 8), test=0.3)
    assert (len(splits.train), len(splits.test)) == (14, 6)
    for source in (splits.train, splits.test):
        found = read(source)
        assert found["y"].mean() == 0.5 and found["y"].dtype == np.int64
        assert ((found["x"][:, 0, 0, 0] >= 200) == (found["y"] == 1)).all()
        assert source.fields["x"].shape == (8, 8, 3) and found["x"].dtype == np.uint8
    seen = np.concatenate([read(source)["x"][:, 0, 0, 0] for source in (splits.train, splits.test)])
    assert len(set(seen.tolist())) == 20


def test_folders_may_bring_their_own_splits(tmp_path):
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        for i in range(count):
            for name in ("a", "b"):
                save(tmp_path / split / name / f"{i}.jpg", np.full((4, 4, 3), 9, np.uint8))
    splits = images.folders(str(tmp_path), size=(2, 3))
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [6, 4, 2]
    assert splits.train.fields["x"].shape == (2, 3, 3)


@pytest.mark.parametrize(("stored", "expected"), [
    (np.full((6, 6, 1), 40), 40),                                       # grey
    (np.concatenate([np.full((6, 6, 1), 40), np.full((6, 6, 1), 0)], -1), 255),  # grey, transparent
    (np.concatenate([np.full((6, 6, 3), 40), np.full((6, 6, 1), 255)], -1), 40),
    (np.concatenate([np.full((6, 6, 3), 40), np.full((6, 6, 1), 0)], -1), 255),
])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_any_kind_of_image_becomes_one_kind(tmp_path, stored, expected, channels):
    for i in range(4):
        save(tmp_path / "only" / f"{i}.png", stored.astype(np.uint8))
    found = read(images.folders(str(tmp_path), size=(3, 3), channels=channels, test=0.5).train)
    assert found["x"].shape == (2, 3, 3, channels) and (found["x"] == expected).all()


def test_what_does_not_fit_into_memory_is_read_when_it_is_asked_for(folder, monkeypatch):
    resident = read(images.folders(str(folder), size=(5, 5)).train)
    monkeypatch.setattr(images, "RESIDENT_BYTES", 100)
    source = images.folders(str(folder), size=(5, 5)).train
    assert isinstance(source, images.Files)
    for name, array in read(source).items():
        np.testing.assert_array_equal(array, resident[name])


@pytest.mark.parametrize("resident", [True, False])
def test_a_broken_image_is_named_or_skipped_and_counted(folder, monkeypatch, resident):
    if not resident:
        monkeypatch.setattr(images, "RESIDENT_BYTES", 100)
    good = (folder / "dark" / "0.png").read_bytes()
    (folder / "dark" / "0.png").write_bytes(good[: len(good) // 2])
    (folder / "light" / "3.png").write_bytes(b"")
    splits = images.folders(str(folder), size=(8, 8), test=0.5, broken="skip")
    assert len(splits.train) + len(splits.test) == 18
    assert len(splits.notes) == 1 and splits.notes[0].startswith("2 broken images skipped, the first of them ")
    assert len(read(splits.train)["y"]) == len(splits.train)
    if resident:
        with pytest.raises(UsageError, match=r"(dark/0|light/3)\.png: it cannot be decoded .*broken = 'skip'"):
            images.folders(str(folder), size=(8, 8))


def test_bad_folders_are_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="no such folder of images"):
        images.folders(str(tmp_path / "nowhere"), size=(8, 8))
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="class folder .*empty holds no image"):
        images.folders(str(folder), size=(8, 8))
    (folder / "empty").rmdir()
    with pytest.raises(UsageError, match="folders.test = 0.01"):
        images.folders(str(folder), size=(8, 8), test=0.01)
    with pytest.raises(UsageError, match="folders.broken = 'ignore'"):
        images.folders(str(folder), size=(8, 8), broken="ignore")
    save(folder / "train" / "a" / "1.png", np.zeros((4, 4, 3), np.uint8))
    save(folder / "test" / "b" / "1.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UsageError, match="the class 'a' is not in both"):
        images.folders(str(folder), size=(8, 8))


def test_photos_are_fields_of_one_example_each_in_its_own_proportions(tmp_path):
    save(tmp_path / "wide.png", np.full((30, 60, 3), 7, np.uint8))
    save(tmp_path / "grey.jpg", np.full((50, 20, 1), 90, np.uint8))
    splits = images.photos({"x": str(tmp_path / "wide.png"), "painting": str(tmp_path / "grey.jpg")}, longest=40)
    assert splits.train is splits.test and len(splits.train) == 1
    found = read(splits.train)
    assert found["x"].shape == (1, 20, 40, 3) and found["painting"].shape == (1, 40, 16, 3)
    assert (found["x"] == 7).all() and (found["painting"] == 90).all() and found["x"].dtype == np.uint8


def test_a_photo_that_is_missing_or_broken_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match="no such photo: .*absent.png; .* as 'x'"):
        images.photos({"x": str(tmp_path / "absent.png")}, longest=40)
    with pytest.raises(UsageError, match="broken.png: it cannot be decoded"):
        images.photos({"x": str(tmp_path / "broken.png")}, longest=40)
    with pytest.raises(UsageError, match="photos.longest = 0"):
        images.photos({"x": str(tmp_path / "broken.png")}, longest=0)
