"""Images in folders, one folder per class; and single photos.

Images that fit into memory are decoded once, when the data is opened; others each time they are read, in the graph.
Does no augmentation: models do (keras.layers.Random*), since it depends on the step and not on the example alone.
"""

import concurrent.futures
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.base.errors import TrainingError, UsageError
from trainer.base.liveness import progressed
from trainer.data import class_folders, image_decoding
from trainer.data.class_folders import ClassFolders
from trainer.data.reading import essence
from trainer.data.source import Field, Source, Splits
from trainer.data.sources.arrays import RESIDENT_BYTES, Arrays
from trainer.data.splits import Subset

_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
_SPLITS = ("train", "validation", "test")


class Files:
    """Image files, read and decoded in the graph.

    Args:
      paths: of PNG, JPEG, GIF (its first frame), BMP or WebP files (no animation). A JPEG is turned upright by its EXIF
        orientation.
      labels: int64 [n], the class of each.
      classes: how many there are.
      size: (height, width) that each image is resized to.
      channels: 3, or 1 for grey.
      background: grey level behind transparent images, 0 to 255.

    Fields: 'x' uint8 [height, width, channels], 'y' int64 [].

    Reading a file that cannot be decoded raises a TrainingError outside of a graph, and TensorFlow's own error in one.
    """

    def __init__(
        self,
        paths: Sequence[str],
        labels: np.ndarray,
        classes: int,
        size: tuple[int, int],
        channels: int,
        background: int,
    ):
        self.fields = {
            "x": Field((*size, channels), "uint8"),
            "y": Field((), "int64", 0, classes - 1),
        }
        self.background = background
        self.paths = list(paths)
        with tf.device("CPU:0"):
            self._paths, self._labels = tf.constant(self.paths), tf.constant(labels, tf.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.map_fn(
            self.decode,
            tf.gather(self._paths, indices),
            fn_output_signature=tf.TensorSpec(self.fields["x"].shape, tf.uint8),
        )
        return {"x": images, "y": tf.gather(self._labels, indices)}

    # AutoGraph would add its own frames to error messages.
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def decode(self, path: tf.Tensor) -> tf.Tensor:
        """The image in one file, uint8 [height, width, channels].

        Raises (outside of a graph):
          TrainingError: it cannot be decoded.
        """
        try:
            return _image(path, self.fields["x"].shape, self.background)
        except tf.errors.OpError as error:
            where = path.numpy().decode()
            raise TrainingError(f"{where}: it cannot be decoded ({essence(error)}); replace or remove it") from error


def folders(
    path: str,
    size: tuple[int, int],
    channels: int = 3,
    background: int = 255,
    test: float = 0.2,
    seed: int = 0,
    broken: str = "refuse",
) -> Splits:
    """Returns images by class: PATH/CLASS/*, or PATH/train/CLASS/*, PATH/validation/CLASS/* and PATH/test/CLASS/*.

    Classes are numbered in the order of their names. Images that do not fit into memory (RESIDENT_BYTES) are decoded
    each time they are read, so with broken = 'refuse' a broken one ends the run when it is read.

    Args:
      path: the folder, of images as in Files.
      size: (height, width) that each image is resized to.
      channels: 3, or 1 for grey.
      background: grey level behind transparent images, 0 to 255.
      test: the share of each class that is held out, if the folder has no splits of its own.
      seed: decides which; deliberately not the run's seed.
      broken: 'refuse' files that cannot be decoded, or 'skip' them and print how many.

    Raises:
      UsageError: an argument is out of range; no such folder, a class without images, folders of classes beside folders
        of splits, classes that differ between splits; a broken image, or a class in which all are broken.
    """
    _check(size, channels, background, seed, broken)
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UsageError(f"no such folder of images: {path}")
    own = [name for name in _SPLITS if (root / name).is_dir()]
    others = [folder.name for folder in class_folders.folders(root) if folder.name not in own]
    if own and "train" not in own:
        raise UsageError(f"{path} has a folder '{own[0]}' and none called 'train': add it, or rename that class")
    if own and others:
        raise UsageError(
            f"{path} has the folder '{own[0]}' of a split beside {', '.join(others)}: move these into train, "
            f"validation and test, or rename '{own[0]}' if it is a class"
        )
    files_of = ClassFolders("image", _SUFFIXES)
    listed = {name: files_of.find(root / name) for name in own} or _held_out(files_of.find(root), test, seed)
    names = list(listed["train"])
    found, skipped = {}, []
    for split, classes in listed.items():
        if list(classes) != names:
            odd = sorted(set(classes) ^ set(names))
            raise UsageError(f"{path}: the class '{odd[0]}' is not in both train and {split}: add it, or remove it")
        paths = [path for class_paths in classes.values() for path in class_paths]
        labels = np.repeat(np.arange(len(names)), [len(class_paths) for class_paths in classes.values()])
        files = Files(paths, labels, len(names), size, channels, background)
        found[split], bad = _opened(files, labels, broken, f"{path} ({split})")
        skipped += bad
    notes = files_of.note(path)
    if skipped:
        notes.append(f"{len(skipped):,} broken images skipped, the first of them {skipped[0]}")
    return Splits.of(found, tuple(notes))


def photos(paths: Mapping[str, str], longest: int) -> Splits:
    """Returns a single example with one field per photo, uint8 [height, width, 3], in the photo's own proportions.

    It is both the training and the test split, for tasks that optimise an image.

    Args:
      paths: field -> file.
      longest: pixels of the longer side of each photo.

    Raises:
      UsageError: no such file, one that cannot be decoded, or `longest` is below 1.
    """
    if longest < 1:
        raise UsageError(f"photos.longest = {longest}: give a number of pixels of at least 1")
    found = {}
    for name, path in paths.items():
        file = str(Path(path).expanduser())
        try:
            image = image_decoding.upright(tf.io.read_file(file))
            scale = longest / max(image.shape[:2])
            size = tuple(max(1, round(side * scale)) for side in image.shape[:2])
            found[name] = image_decoding.resized(image, size, channels=3, background=255).numpy()[None]
        except tf.errors.NotFoundError:
            raise UsageError(f"no such photo: {path}; put it there, or name another as '{name}'") from None
        except tf.errors.OpError as error:
            raise UsageError(f"{path}: it cannot be decoded ({essence(error)}); replace it") from None
    source = Arrays(found, name="the photos")
    return Splits(source, test=source)


def _check(size: tuple[int, int], channels: int, background: int, seed: int, broken: str) -> None:
    if np.shape(size) != (2,) or min(size) < 1:
        raise UsageError(f"folders.size = {size}: give (height, width), of at least 1 pixel each")
    if channels not in (1, 3):
        raise UsageError(f"folders.channels = {channels}: give 3, or 1 for grey")
    if not 0 <= background <= 255:
        raise UsageError(f"folders.background = {background}: give a number from 0 to 255")
    if seed < 0:
        raise UsageError(f"folders.seed = {seed}: give a number of at least 0")
    if broken not in ("refuse", "skip"):
        raise UsageError(f"folders.broken = '{broken}': give 'refuse' or 'skip'")


def _held_out(classes: dict[str, list[str]], test: float, seed: int) -> dict[str, dict[str, list[str]]]:
    """Holds out the same share of every class."""
    if not 0.0 < test < 1.0:
        raise UsageError(f"folders.test = {test}: give the share that is held out, between 0 and 1")
    random = np.random.default_rng(seed)
    splits: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for name, paths in classes.items():
        held = round(len(paths) * test)
        if held in (0, len(paths)):
            raise UsageError(
                f"folders.test = {test} leaves no image of class '{name}', which has {len(paths)}, on one side: "
                f"choose another share, or fill the class"
            )
        chosen = set(random.permutation(len(paths))[:held].tolist())
        splits["train"][name] = [path for i, path in enumerate(paths) if i not in chosen]
        splits["test"][name] = [path for i, path in enumerate(paths) if i in chosen]
    return splits


def _opened(files: Files, labels: np.ndarray, broken: str, name: str) -> tuple[Source, list[str]]:
    """The source, decoded if it fits into memory, and the broken files that were skipped."""
    size = math.prod(files.fields["x"].shape)
    resident = len(files) * size <= RESIDENT_BYTES
    if not resident and broken == "refuse":
        return files, []  # checking them all would take as long as an epoch, at each start
    images = np.empty((len(files) if resident else 0, *files.fields["x"].shape), np.uint8)
    bad = []
    for i, image in enumerate(_decoded(files)):
        progressed()
        if isinstance(image, str):
            if broken == "refuse":
                raise UsageError(f"{files.paths[i]}: {image}; replace or remove it, or set folders.broken = 'skip'")
            bad.append(i)
        elif resident:
            images[i] = image
    kept, skipped = np.setdiff1d(np.arange(len(files)), bad), [files.paths[i] for i in bad]
    lost = np.flatnonzero(~np.isin(labels, labels[kept]))
    if len(lost):
        first = files.paths[lost[0]]
        raise UsageError(
            f"{name}: no image of a class can be decoded, the first is {first}; replace or remove them all"
        )
    if resident:
        return Arrays({"x": images[kept], "y": labels[kept]}, name=name), skipped
    return Subset(files, kept), skipped


def _decoded(files: Files) -> Iterator[np.ndarray | str]:
    """Each image, or what is wrong with it."""
    decode = _decoder(files.fields["x"].shape, files.background)

    def one(path: str) -> np.ndarray | str:
        try:
            image: np.ndarray = decode(tf.constant(path)).numpy()
            return image
        except tf.errors.OpError as error:
            return f"it cannot be decoded ({essence(error)})"

    # TensorFlow's ops release the GIL.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        yield from threads.map(one, files.paths)


@functools.cache
def _decoder(shape: tuple[int, ...], background: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Path -> image of that shape. Traced beforehand, or each thread would; once, since splits have equal shapes."""
    function = tf.function(lambda path: _image(path, shape, background), autograph=False)
    decoder: Callable[[tf.Tensor], tf.Tensor] = function.get_concrete_function(tf.TensorSpec((), tf.string))
    return decoder


def _image(path: tf.Tensor, shape: tuple[int, ...], background: int) -> tf.Tensor:
    height, width, channels = shape
    return image_decoding.decoded(tf.io.read_file(path), (height, width), channels, background)
