import io
import struct
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from kolm.errors import DataError
from kolm.images import ImageLimits, grey_like, media_type, open_image, pixel_digest, to_png


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width: int = 40, height: int = 24) -> Image.Image:
    """Every pixel differs from its neighbours, so truncation and turning show."""
    pixels = bytes(
        v for y in range(height) for x in range(width) for v in (x * 6 % 256, y * 10 % 256, x * y % 256)
    )
    return Image.frombytes("RGB", (width, height), pixels)


def png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, rows: bytes = b"", extra: bytes = b""
) -> bytes:
    """Build a PNG by hand: signature, IHDR, extra chunks, IDAT, IEND."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def bomb(width: int, height: int) -> bytes:
    """A few kilobytes that promise width * height grey pixels."""
    return png(width, height, colour=0, rows=b"\0" * 1000)


REFUSED = {
    "empty file": (b"", "0 bytes"),
    "text named .png": (b"this is not a picture\n" * 20, "not a picture"),
    "tiff": (encoded(gradient(), "TIFF"), "TIFF"),
    "heic": (b"\0\0\0\x18ftypheic" + b"\0" * 64, "HEIC"),
    "truncated jpeg": (encoded(gradient(200, 200), "JPEG")[:2000], "truncated"),
    "truncated png": (encoded(gradient(200, 200), "PNG")[:2000], "truncated"),
    "jpeg header only": (b"\xff\xd8\xff\xe0", "cannot be decoded"),
    "bomb png": (bomb(60_000, 60_000), "bomb"),
    "bomb png below pillow's own limit": (bomb(9_000, 9_000), "81000000|9000 x 9000"),
    "long thin png": (bomb(20_000, 10), "side"),
    "animated gif": (
        encoded(gradient(), "GIF", save_all=True, append_images=[gradient().rotate(180)]),
        "more than one frame",
    ),
    "animated png": (
        encoded(gradient(), "PNG", save_all=True, append_images=[grey_like(gradient())]),
        "one frame",
    ),
    "png with a wrong checksum": (
        png(4, 4, rows=b"\0" * 52)[:-20] + b"\0" * 20,
        "cannot be decoded|truncated",
    ),
    "zero pixels": (png(0, 4), "cannot be decoded|pixels"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_picture_names_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        open_image(data, what="row 7")
    assert caught.value.message.startswith("row 7: ")
    assert caught.value.hint


def test_oversized_file_is_refused_before_decoding() -> None:
    data = encoded(gradient(), "PNG")
    with pytest.raises(DataError, match=f"{len(data)} bytes, at most 100"):
        open_image(data, what="x", limits=ImageLimits(max_bytes=100))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "JPEG"])
def test_every_kind_is_read_by_its_first_bytes(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(gradient(), kind, **options)
    image = open_image(data, what="x")
    assert (image.mode, image.size) == ("RGB", (40, 24))
    assert media_type(data)[0] == Image.MIME[kind]
    if kind in {"PNG", "WEBP", "BMP"}:
        assert pixel_digest(image) == pixel_digest(gradient())


def test_exif_orientation_6_turns_a_real_jpeg_upright() -> None:
    """Orientation 6: the camera was held so that the stored top row is the right-hand edge of the picture."""
    stored = Image.new("RGB", (64, 32), "white")
    stored.paste("red", (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    image = open_image(encoded(stored, "JPEG", quality=95, exif=exif), what="x")
    assert image.size == (32, 64)
    top, bottom = image.getpixel((16, 8)), image.getpixel((16, 56))
    assert top[0] > 200 > 60 > top[1]
    assert min(bottom) > 200
    assert not image.getexif()


def test_second_picture_behind_a_phone_jpeg_is_ignored() -> None:
    data = encoded(gradient(), "MPO", save_all=True, append_images=[grey_like(gradient())], quality=100)
    assert abs(open_image(data, what="x").getpixel((39, 0))[0] - gradient().getpixel((39, 0))[0]) < 30


def test_transparency_becomes_white() -> None:
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (255, 0, 0, 255))
    image = open_image(encoded(clear, "PNG"), what="x")
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (255, 0, 0)]


def test_transparent_palette_entry_becomes_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.putpixel((1, 0), 1)
    image = open_image(encoded(palette, "PNG", transparency=0), what="x")
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (10, 20, 30)]


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    rows = b"\0" + struct.pack(">HHH", 0, 0x8000, 0xFFFF)
    image = open_image(png(3, 1, depth=16, colour=0, rows=rows), what="x")
    assert [image.getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]


def test_cmyk_jpeg_becomes_rgb() -> None:
    image = open_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), what="x")
    red, green, blue = image.getpixel((8, 8))
    assert (red > 200, green < 60, blue < 60) == (True, True, True)


def test_pixel_digest_depends_on_pixels_and_shape_only() -> None:
    image = gradient()
    assert pixel_digest(open_image(encoded(image, "PNG", compress_level=0), what="x")) == pixel_digest(image)
    flat = Image.new("RGB", (4, 1))
    assert pixel_digest(flat) != pixel_digest(Image.new("RGB", (2, 2)))
    # specs/formats/set.md 3: one black pixel.
    black = "0b5d46e86afb4c881cdcc97d0236f6a1353a8e83fc3a686ca0f31d1e66778a1d"
    assert pixel_digest(Image.new("RGB", (1, 1))) == black


def test_grey_picture_shows_nothing() -> None:
    grey = grey_like(gradient())
    assert grey.size == gradient().size
    assert grey.getcolors() == [(40 * 24, (128, 128, 128))]


def test_png_of_pixels_reads_back() -> None:
    assert pixel_digest(open_image(to_png(gradient()), what="x")) == pixel_digest(gradient())


@given(
    st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]),
    st.integers(0, 10_000),
    st.binary(min_size=1, max_size=4),
)
@example("PNG", 33, b"\xff")
def test_any_damage_ends_in_pixels_or_in_a_data_error(kind: str, offset: int, noise: bytes) -> None:
    data = bytearray(encoded(gradient(), kind))
    start = offset % len(data)
    data[start : start + len(noise)] = noise
    try:
        image = open_image(bytes(data), what="x")
    except DataError:
        return
    assert image.mode == "RGB"
