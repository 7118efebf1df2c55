"""Every format, depth and kind of colour: the pixels that Pillow sees, on a grey background; or refused."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, PngImagePlugin

from trainer.data.image_decoding import decoded

HEIGHT, WIDTH, GREY = 12, 16, 128
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
RGB = np.stack([X * 15, Y * 20, (X + Y) * 8], axis=-1).astype(np.uint8)
RGBA = np.dstack([RGB, (X * 16).astype(np.uint8)])
COLOUR, ALPHA = Image.fromarray(RGB), Image.fromarray(RGBA)
LUMA, PALETTE = COLOUR.convert("L"), COLOUR.quantize(16)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def raw_png(depth, kind, rows):
    """A PNG of a depth that Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def raw_bmp(bits, masks=b"", upside=1):
    """A BMP of 16 or 32 bits: 5 bits per channel, or 8 and a fourth byte that is 0."""
    rows = RGB if upside < 0 else RGB[::-1]
    red, green, blue = (rows[..., i].astype(np.uint32) for i in range(3))
    pixels = (
        (red >> 3 << 10 | green >> 3 << 5 | blue >> 3).astype("<u2") if bits == 16 else (red << 16 | green << 8 | blue)
    )
    data, offset = pixels.tobytes(), 54 + len(masks)
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, upside * HEIGHT, 1, bits, 3 if masks else 0, len(data), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + masks + data


def packed(depth):
    levels = np.asarray(LUMA) >> (8 - depth)
    return [np.packbits(np.unpackbits(row[:, None], axis=1)[:, -depth:]).tobytes() for row in levels]


LONG_TEXT = PngImagePlugin.PngInfo()
LONG_TEXT.add_itxt("XML:com.adobe.xmp", "x" * 6000)

FILES = {
    "png-grey": saved(LUMA, "PNG"),
    "png-grey-1": saved(COLOUR.convert("1"), "PNG"),
    "png-grey-2": raw_png(2, 0, packed(2)),
    "png-grey-4": raw_png(4, 0, packed(4)),
    "png-grey-alpha": saved(ALPHA.convert("LA"), "PNG"),
    "png-grey-one-transparent": saved(LUMA, "PNG", transparency=60),
    "png-colour": saved(COLOUR, "PNG"),
    "png-colour-16": raw_png(16, 2, [(row.astype(">u2") * 257).astype(">u2").tobytes() for row in RGB]),
    "png-colour-alpha": saved(ALPHA, "PNG"),
    "png-colour-alpha-16": raw_png(16, 6, [(row.astype(">u2") * 257).astype(">u2").tobytes() for row in RGBA]),
    "png-colour-one-transparent": saved(COLOUR, "PNG", transparency=(0, 0, 0)),
    "png-one-transparent-after-a-long-text": saved(COLOUR, "PNG", transparency=(0, 0, 0), pnginfo=LONG_TEXT),
    **{f"png-palette-{n}": saved(COLOUR.quantize(n), "PNG") for n in (2, 4, 16, 256)},
    "png-palette-transparent": saved(PALETTE, "PNG", transparency=3),
    "gif": saved(COLOUR, "GIF"),
    "gif-grey": saved(LUMA, "GIF"),
    "gif-transparent": saved(PALETTE, "GIF", transparency=3),
    "gif-animated": saved(PALETTE, "GIF", save_all=True, append_images=[COLOUR.transpose(0).quantize(16)]),
    "bmp-1": saved(COLOUR.convert("1"), "BMP"),
    "bmp-grey": saved(LUMA, "BMP"),
    **{f"bmp-palette-{n}": saved(COLOUR.quantize(n), "BMP") for n in (16, 256)},
    "bmp-16": raw_bmp(16),
    "bmp-24": saved(COLOUR, "BMP"),
    "bmp-32": saved(ALPHA, "BMP"),
    "bmp-32-unused": raw_bmp(32),
    "bmp-32-from-the-top": raw_bmp(32, upside=-1),
    "bmp-32-masks": raw_bmp(32, struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)),
    "webp": saved(COLOUR, "WEBP", lossless=True),
    "webp-alpha": saved(ALPHA, "WEBP", lossless=True),
    "webp-lossy": saved(COLOUR, "WEBP", quality=90),
    "jpeg": saved(COLOUR, "JPEG", quality=95),
    "jpeg-grey": saved(LUMA, "JPEG", quality=95),
    "jpeg-progressive": saved(COLOUR, "JPEG", progressive=True, quality=95),
    "jpeg-dithered": saved(COLOUR.convert("1").convert("L"), "JPEG", quality=100),
    "jpeg-cmyk": saved(COLOUR.convert("CMYK"), "JPEG", quality=95),
}


def as_pillow_sees(encoded):
    image = Image.open(io.BytesIO(encoded)).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, (GREY,) * 3 + (255,)), image))[..., :3]


def pixels(encoded, channels=3):
    return decoded(tf.constant(encoded), (HEIGHT, WIDTH), channels, GREY).numpy()


@pytest.mark.parametrize("name", FILES)
def test_a_format_is_read_as_pillow_reads_it(name):
    expected = as_pillow_sees(FILES[name]).astype(int)
    # Blending rounds, and so does the conversion of CMYK.
    assert np.abs(pixels(FILES[name]) - expected).max() <= (2 if name == "jpeg-cmyk" else 1)
    assert len(np.unique(expected)) > 1


def test_of_16_bits_the_higher_8_count():
    high = np.asarray(LUMA).astype(np.uint16)
    found = pixels(saved(Image.fromarray(high * 256 + 200), "PNG"), channels=1)[..., 0]
    np.testing.assert_array_equal(found, high)


@pytest.mark.parametrize("name", ["png-grey", "bmp-grey", "gif-grey", "bmp-1"])
def test_what_is_grey_stays_so(name):
    expected = np.asarray(Image.open(io.BytesIO(FILES[name])).convert("L"))
    np.testing.assert_array_equal(pixels(FILES[name], channels=1)[..., 0], expected)


@pytest.mark.parametrize(
    "encoded",
    [saved(COLOUR, "TIFF"), saved(COLOUR, "PPM"), FILES["bmp-24"][:40], FILES["gif"][:30], b"BM and no image", b""],
    ids=["tiff", "ppm", "half a bmp", "half a gif", "text", "nothing"],
)
def test_what_is_not_read_is_refused(encoded):
    with pytest.raises(tf.errors.OpError):
        pixels(encoded)
