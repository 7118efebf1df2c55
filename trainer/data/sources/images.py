"""Images in folders, one folder per class; and single photos.

Images that fit into memory are decoded once, when the data is opened; others each time they are read, in the graph.
Does no augmentation: models do (keras.layers.Random*), since it depends on the step and not on the example alone.
"""

import concurrent.futures
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.base.errors import TrainingError, UsageError
from trainer.data.reading import essence
from trainer.data.source import Field, Source, Splits
from trainer.data.sources.arrays import RESIDENT_BYTES, Arrays
from trainer.data.splits import Subset

_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
_SPLITS = ("train", "validation", "test")
# The camera's orientation is in the EXIF data at the beginning of a JPEG: tag 0x0112, one 16-bit number.
_EXIF_BYTES = 1 << 16
_ORIENTATION = re.compile(
    rb"Exif\0\0(?:II\*\0.*?\x12\x01\x03\0\x01\0\0\0|MM\0\*.*?\x01\x12\0\x03\0\0\0\x01\0)([\x01-\x08])",
    re.DOTALL,
)
_UPRIGHT, _ANIMATED_WEBP = np.int64(1), np.int64(0)


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
        self._size, self._channels, self.background = size, channels, background
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
            return decoded(tf.io.read_file(path), self._size, self._channels, self.background)
        except tf.errors.OpError as error:
            where = path.numpy().decode()
            raise TrainingError(f"{where}: it cannot be decoded ({essence(error)}); replace or remove it") from error


def decoded(encoded: tf.Tensor, size: tuple[int, int], channels: int, background: int) -> tf.Tensor:
    """Decodes an image file's contents, a string [], to uint8 [*size, channels]; for the arguments see Files."""
    return _resized(_upright(encoded), size, channels, background)


def _upright(encoded: tf.Tensor) -> tf.Tensor:
    """The image in its own size, uint8 [height, width, 1 to 4], turned upright by its EXIF orientation."""
    # Only JPEG and WebP need a look at their first bytes, which costs as much as decoding a small PNG.
    asked = tf.reduce_any(tf.strings.substr(encoded, 0, 2) == [b"\xff\xd8", b"RI"])
    return tf.cond(asked, lambda: _turned(encoded), lambda: _stored(encoded))


def _stored(encoded: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(encoded, channels=0, expand_animations=False)


def _turned(encoded: tf.Tensor) -> tf.Tensor:
    head = tf.strings.substr(encoded, 0, _EXIF_BYTES)[None]
    held = tf.ensure_shape(tf.numpy_function(_held, [head], tf.int64, stateful=False), ())
    # TensorFlow's decoder may write out of bounds for a truncated animation.
    still = tf.raw_ops.Assert(condition=held != _ANIMATED_WEBP, data=["an animated WebP is not read"])
    with tf.control_dependencies([still]):
        image = _stored(encoded)
    image = tf.cond(held >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    image = tf.cond(held // 2 % 2 == 1, lambda: image[:, ::-1], lambda: image)
    return tf.cond((held - 1) // 2 % 2 == 1, lambda: image[::-1], lambda: image)


def _held(heads: np.ndarray) -> np.int64:
    """EXIF's orientation of one file, 1 to 8, from its first bytes; 0 for an animated WebP."""
    (head,) = heads
    # WebP's container format: the animation flag in the first chunk of an extended file.
    if len(head) > 20 and head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20] & 2:
        return _ANIMATED_WEBP
    found = _ORIENTATION.search(head) if head[:2] == b"\xff\xd8" else None
    return np.int64(found[1][0]) if found else _UPRIGHT


def _resized(image: tf.Tensor, size: tuple[int, int], channels: int, background: int) -> tf.Tensor:
    # One or three channels of colour; a second or fourth channel is alpha.
    stored = tf.shape(image)[-1]
    colours = stored - (1 - stored % 2)
    image = tf.cast(image, tf.float32)
    opaque = tf.cond(stored % 2 == 0, lambda: image[..., -1:] / 255.0, lambda: tf.ones_like(image[..., :1]))
    image = image[..., :colours] * opaque + float(background) * (1.0 - opaque)
    if channels == 3:
        image = tf.cond(colours == 1, lambda: tf.repeat(image, 3, axis=-1), lambda: image)
    else:
        image = tf.cond(colours == 1, lambda: image, lambda: tf.image.rgb_to_grayscale(image[..., :3]))
    image = tf.ensure_shape(image, (None, None, channels))
    return tf.saturate_cast(tf.round(tf.image.resize(image, size, antialias=True)), tf.uint8)


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
    others = [folder.name for folder in _folders(root) if folder.name not in own]
    if own and "train" not in own:
        raise UsageError(f"{path} has a folder '{own[0]}' and none called 'train': add it, or rename that class")
    if own and others:
        raise UsageError(
            f"{path} has the folder '{own[0]}' of a split beside {', '.join(others)}: move these into train, "
            f"validation and test, or rename '{own[0]}' if it is a class"
        )
    listed = {name: _classes(root / name) for name in own} if own else _held_out(_classes(root), test, seed)
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
    notes = [f"{len(skipped):,} broken images skipped, the first of them {skipped[0]}"] if skipped else []
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
            image = _upright(tf.io.read_file(file))
            scale = longest / max(image.shape[:2])
            size = tuple(max(1, round(side * scale)) for side in image.shape[:2])
            found[name] = _resized(image, size, channels=3, background=255).numpy()[None]
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


def _folders(path: Path) -> list[Path]:
    """The folders in a folder, in the order of their names."""
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _classes(folder: Path) -> dict[str, list[str]]:
    """The images of each class below a folder, all in the order of their names."""
    found = {}
    for each in _folders(folder):
        # Hidden files are other programs': copies of notebooks, thumbnails.
        shown = (file for file in each.rglob("*") if not any(n.startswith(".") for n in file.relative_to(each).parts))
        images = sorted(str(file) for file in shown if file.suffix.lower() in _SUFFIXES)
        if not images:
            raise UsageError(f"the class folder {each} holds no image ({', '.join(_SUFFIXES)}): fill it, or remove it")
        found[each.name] = images
    if not found:
        raise UsageError(f"{folder} holds no folders: images must be in one folder per class, {folder}/CLASS/NAME.png")
    return found


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
def _decoder(shape: tuple[int, int, int], background: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Path -> image of that shape. Traced beforehand, or each thread would; once, since splits have equal shapes."""
    height, width, channels = shape
    function = tf.function(
        lambda path: decoded(tf.io.read_file(path), (height, width), channels, background), autograph=False
    )
    decoder: Callable[[tf.Tensor], tf.Tensor] = function.get_concrete_function(tf.TensorSpec((), tf.string))
    return decoder
