"""Images in folders: decoded, resized, labelled by folder; what is broken is named."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import TrainingError, UsageError
from trainer.data.global_permutation import GlobalPermutation
from trainer.data.pipeline import Input, Layout
from trainer.data.sources import images

# Two rows of three pixels of the colour (200, 100, 50); the second is followed by one of half as much light.
WEBP = bytes.fromhex("524946461e000000574542505650384c110000002f024000000750b22257a6ff8188e87f0000")
ANIMATED_WEBP = bytes.fromhex(
    "524946468800000057454250565038580a00000002000000020000010000414e494d06000000000000000000414e4d462a000000000000000000"
    "020000010000000000025650384c110000002f024000000750b22257a6ff8188e87f0000414e4d462a000000000000000000020000010000000000"
    "005650384c110000002f024000000750999235a3ff8188e87f0000"
)


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


def test_linked_folders_are_followed_and_what_is_left_out_is_told(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save(elsewhere / "far.png", np.full((8, 8, 3), 100, np.uint8))
    (folder / "dark" / "disk").symlink_to(elsewhere)
    (folder / "grey").symlink_to(elsewhere)
    for name in ("notes.txt", "more.txt", ".hidden.png", "raw.tiff", "README"):
        (folder / "light" / name).write_text("")
    for name in ("lost.png", "notes.txt"):  # beside the folders of classes
        (folder / name).write_text("")
    save(elsewhere / "near.png", np.full((8, 8, 3), 100, np.uint8))
    splits = images.folders(str(folder), size=(8, 8), test=0.5)
    assert len(splits.train) + len(splits.test) == 10 + 2 + 10 + 2
    assert splits.notes == (
        f"6 files of {folder} are left out, as their names or places are of no image: 1 .tiff, 2 .txt, 1 hidden, "
        f"1 in no folder of a class, 1 without an extension",
    )
    (folder / "dark" / "round").symlink_to(folder)
    with pytest.raises(UsageError, match="dark/round is a link to a folder that it is in: remove it"):
        images.folders(str(folder), size=(8, 8))


def test_hidden_files_are_no_images_of_a_class(folder):
    before = len(images.folders(str(folder), (8, 8)).train)
    save(folder / "dark" / ".ipynb_checkpoints" / "1-checkpoint.png", np.zeros((8, 8, 3), np.uint8))
    (folder / "dark" / "._1.png").write_bytes(b"of another system")
    assert len(images.folders(str(folder), (8, 8)).train) == before


def test_webp_is_read_but_for_animations(tmp_path):
    for i in range(4):
        (tmp_path / "only").mkdir(exist_ok=True)
        (tmp_path / "only" / f"{i}.webp").write_bytes(WEBP)
    assert (read(images.folders(str(tmp_path), size=(2, 3), test=0.5).train)["x"] == (200, 100, 50)).all()
    for content in (ANIMATED_WEBP, ANIMATED_WEBP[:100]):
        (tmp_path / "only" / "3.webp").write_bytes(content)
        with pytest.raises(
            UsageError, match=r"3\.webp: it cannot be decoded \(an animated WebP is not read\); replace"
        ):
            images.folders(str(tmp_path), size=(2, 3), test=0.5)


# What EXIF's numbers ask for: where the first row and the first column of what is stored belong.
ORIENTATIONS = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("order", ["II*\0", "MM\0*"])
def test_photos_stand_upright(tmp_path, order, monkeypatch):
    stored = np.repeat(np.repeat([[20, 60, 100], [140, 180, 220]], 8, 0), 8, 1).astype(np.uint8)[..., None]
    encoded = tf.io.encode_jpeg(stored, quality=100).numpy()
    endian = "little" if order.startswith("I") else "big"
    for orientation, turned in ORIENTATIONS.items():
        numbers = [(8, 4), (1, 2), (0x112, 2), (3, 2), (1, 4), (orientation, 2), (0, 2), (0, 4)]
        exif = b"Exif\0\0" + order.encode() + b"".join(number.to_bytes(size, endian) for number, size in numbers)
        segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
        for name in ("a", "b"):
            path = tmp_path / str(orientation) / f"{name}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encoded[:2] + segment + encoded[2:])
        photo = images.photos({"x": str(path)}, longest=24).train
        np.testing.assert_allclose(read(photo)["x"][0, ..., :1], turned(stored), atol=3)
    for memory in (images.RESIDENT_BYTES, 0):
        monkeypatch.setattr(images, "RESIDENT_BYTES", memory)
        found = read(images.folders(str(tmp_path), size=(24, 24), channels=1, test=0.5).train)
        for image, turned in zip(found["x"], ORIENTATIONS.values(), strict=True):
            # Of the corners of equal squares, whatever they were stretched to.
            np.testing.assert_allclose(image[::23, ::23], turned(stored[::15, ::23]), atol=3)


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


def test_what_is_wrong_with_a_file_is_said(folder, tmp_path):
    broken = folder / "light" / "3.png"
    contents = {
        "Pillow knows no such format": b"BM and no image", "Pillow says: Unsupported BMP": b"BM" + bytes(30),
        "Input is empty": b"", "Unknown image file format": b"<html>not found</html>", "Invalid PNG": broken.read_bytes()[:50],
        "Is a directory": None,
    }  # fmt: skip
    for says, content in contents.items():
        broken.unlink()
        if content is None:
            broken.mkdir()
        else:
            broken.write_bytes(content)
        if content is not None:  # a folder is no image of its class
            with pytest.raises(
                UsageError, match=rf"light/3\.png: it cannot be decoded \(.*{says}.*\); replace.*'skip'"
            ) as error:
                images.folders(str(folder), size=(8, 8))
            assert "{{" not in error.value.message and "Graph" not in error.value.message
        with pytest.raises(UsageError, match=rf"3\.png: it cannot be decoded \(.*{says}.*\); replace it") as error:
            images.photos({"x": str(broken)}, longest=8)
        assert "{{" not in error.value.message


def test_a_broken_image_that_is_met_while_training_is_named(folder, monkeypatch):
    monkeypatch.setattr(images, "RESIDENT_BYTES", 100)
    source = images.folders(str(folder), size=(8, 8), test=0.3).train
    (folder / "light" / "3.png").write_bytes(b"no image")
    (folder / "light" / "4.png").unlink()
    layout = Layout(len(source), 1, 1)
    batches = Input(source, GlobalPermutation(len(source), len(source)), layout, tf.distribute.get_strategy()).open(0)
    with pytest.raises(
        TrainingError, match=r"light/[34]\.png: it cannot be decoded \((Unknown|.*No such file)"
    ) as error:
        next(batches.take(1))
    assert "\n" not in error.value.message and "{{" not in error.value.message


@pytest.mark.parametrize("resident", [True, False])
def test_a_class_is_not_skipped_as_a_whole(folder, monkeypatch, resident):
    if not resident:
        monkeypatch.setattr(images, "RESIDENT_BYTES", 100)
    for path in (folder / "light").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(
        UsageError, match=r"\(train\): no image of a class can be decoded, the first is .*light/\d\.png"
    ):
        images.folders(str(folder), size=(8, 8), test=0.5, broken="skip")


@pytest.mark.parametrize(("argument", "value"), [
    ("size", (0, 8)), ("size", (8,)), ("size", 8), ("channels", 2), ("background", -1), ("background", 256),
    ("seed", -1), ("test", 0.01), ("broken", "ignore"),
])  # fmt: skip
def test_an_argument_that_cannot_be_is_named(folder, argument, value):
    with pytest.raises(UsageError, match=rf"folders\.{argument} = "):
        images.folders(str(folder), **{"size": (8, 8), argument: value})


def test_bad_folders_are_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="no such folder of images"):
        images.folders(str(tmp_path / "nowhere"), size=(8, 8))
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="class folder .*empty holds no image"):
        images.folders(str(folder), size=(8, 8))
    (folder / "empty").rmdir()
    save(folder / "train" / "a" / "1.png", np.zeros((4, 4, 3), np.uint8))
    save(folder / "test" / "b" / "1.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UsageError, match="'train' of a split beside dark, light: .* rename 'train'"):
        images.folders(str(folder), size=(8, 8))
    for name in ("dark", "light"):
        (folder / name).rename(folder / f".{name}")
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


def test_files_and_images_count_as_progress(folder, monkeypatch, progress):
    """Two folders with 20 files, and these decoded; or only found, where they are decoded while they are trained on."""
    assert progress(images.folders, str(folder), (8, 8)) == 2 + 20 + 20
    monkeypatch.setattr(images, "RESIDENT_BYTES", 0)
    assert progress(images.folders, str(folder), (8, 8)) == 2 + 20
