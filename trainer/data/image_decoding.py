"""Decodes the contents of an image file to pixels of a given size. Opens no files.

TensorFlow decodes in the graph, without Python. Pillow reads what TensorFlow reads only in part.
"""

import io
import re

import numpy as np
import PIL.Image
import tensorflow as tf

# The camera's orientation is in the EXIF data at the beginning of a JPEG: tag 0x0112, one 16-bit number.
_EXIF_BYTES = 1 << 16
_ORIENTATION = re.compile(
    rb"Exif\0\0(?:II\*\0.*?\x12\x01\x03\0\x01\0\0\0|MM\0\*.*?\x01\x12\0\x03\0\0\0\x01\0)([\x01-\x08])",
    re.DOTALL,
)
_UPRIGHT, _ANIMATED_WEBP = np.int64(1), np.int64(0)
# A PNG without a palette in which one colour stands for transparent pixels; palettes TensorFlow reads right. The chunk
# comes before the pixels, but after any amount of profiles and texts. \C is any byte.
_TRANSPARENT_PNG = r"\C{25}[\x00\x02]\C*tRNS\C*"
_PILLOW_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


def decoded(encoded: tf.Tensor, size: tuple[int, int], channels: int, background: int) -> tf.Tensor:
    """Decodes an image file's contents, a string [], to uint8 [*size, channels].

    Args:
      encoded: PNG, JPEG, GIF (its first frame), BMP or WebP (no animation). A JPEG is turned upright by its EXIF
        orientation.
      size: (height, width) that the image is resized to.
      channels: 3, or 1 for grey.
      background: grey level behind transparent pixels, 0 to 255.
    """
    return resized(upright(encoded), size, channels, background)


def upright(encoded: tf.Tensor) -> tf.Tensor:
    """The image in its own size, uint8 [height, width, 1 to 4], turned upright by its EXIF orientation."""
    # Only JPEG and WebP need a look at their first bytes, which costs as much as decoding a small PNG.
    first = tf.strings.substr(encoded, 0, 2)
    looked_at = tf.reduce_any(first == [b"\xff\xd8", b"RI"])
    half_read = tf.reduce_any(first == [b"BM", b"GI"]) | (
        (first == b"\x89P") & tf.strings.regex_full_match(encoded, _TRANSPARENT_PNG)
    )
    return tf.case(
        [(looked_at, lambda: _turned(encoded)), (half_read, lambda: _by_pillow(encoded))],
        default=lambda: _stored(encoded),
    )


def _by_pillow(encoded: tf.Tensor) -> tf.Tensor:
    """What TensorFlow's decoder reads in part: palettes and 32 bits of BMP, transparent colours of GIF and PNG."""
    return tf.ensure_shape(tf.numpy_function(_pixels, [encoded[None]], tf.uint8, stateful=False), (None, None, None))


def _pixels(files: np.ndarray) -> np.ndarray:
    """The first frame of one file, uint8 [height, width, 1, 3 or 4].

    Raises:
      tf.errors.InvalidArgumentError: Pillow cannot read it, or it has more than 8 bits per channel.
    """
    (encoded,) = files  # a scalar would lose the zeros at its end
    try:
        with PIL.Image.open(io.BytesIO(encoded)) as image:
            if image.mode not in _PILLOW_MODES:
                raise _cannot(f"its pixels are of Pillow's mode {image.mode}")
            see_through = "transparency" in image.info or image.mode in ("LA", "PA", "RGBA")
            grey = image.mode in ("1", "L") and not see_through
            pixels = np.asarray(image.convert("RGBA" if see_through else "L" if grey else "RGB"))
    except PIL.UnidentifiedImageError as error:
        raise _cannot("Pillow knows no such format") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise _cannot(f"Pillow says: {error}") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _cannot(said: str) -> tf.errors.InvalidArgumentError:
    """What TensorFlow's own decoder raises, too."""
    return tf.errors.InvalidArgumentError(None, None, said)


def _stored(encoded: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(encoded, channels=0, expand_animations=False)


def _turned(encoded: tf.Tensor) -> tf.Tensor:
    head = tf.strings.substr(encoded, 0, _EXIF_BYTES)[None]
    held = tf.ensure_shape(tf.numpy_function(_held, [head], tf.int64, stateful=False), ())
    # TensorFlow's decoder may write out of bounds for a truncated animation.
    still = tf.raw_ops.Assert(condition=held != _ANIMATED_WEBP, data=["an animated WebP is not read"])
    with tf.control_dependencies([still]):
        image = tf.cond(
            tf.strings.substr(encoded, 0, 2) == b"\xff\xd8",
            # Not the fast transform, which is off by up to the whole range where pixels differ much.
            lambda: tf.io.decode_jpeg(encoded, channels=0, dct_method="INTEGER_ACCURATE"),
            lambda: _stored(encoded),
        )
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


def resized(image: tf.Tensor, size: tuple[int, int], channels: int, background: int) -> tf.Tensor:
    """An image uint8 [height, width, 1 to 4] as uint8 [*size, channels]; for the arguments see `decoded`."""
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
