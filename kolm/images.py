"""Pictures as kolm sees them: still, bounded, upright RGB.

Everything that reads a picture goes through `open_image`, so the same bytes give the same pixels in
training, in evaluation and in an audit. What is refused, and what becomes of transparency, 16-bit and
CMYK pictures, is written down in specs/formats/row.md 4.
"""

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass

from PIL import Image, ImageOps

from kolm.errors import DataError

HINT = "give a still PNG, JPEG, WebP, GIF or BMP picture"


@dataclass(frozen=True)
class ImageLimits:
    """What a picture may cost before it is refused."""

    max_bytes: int = 50_000_000
    """Size of the encoded picture, in bytes."""

    max_pixels: int = 64_000_000
    """Width times height, known from the header before anything is decoded."""

    max_side: int = 16_384
    """Width or height, in pixels."""


LIMITS = ImageLimits()

_MEDIA = {
    "PNG": ("image/png", "png"),
    "JPEG": ("image/jpeg", "jpg"),
    "WEBP": ("image/webp", "webp"),
    "GIF": ("image/gif", "gif"),
    "BMP": ("image/bmp", "bmp"),
}

SUFFIXES = frozenset(suffix for _, suffix in _MEDIA.values())
"""File suffixes of the encodings that are read."""

# What people hand in by mistake, by its first bytes.
_FOREIGN = (
    (b"%PDF", "a PDF document"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"version https://git-lfs", "a Git LFS pointer, not the picture itself"),
)

# Pillow's decoders raise all of these on malformed input.
_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError,
    OverflowError, struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


def open_image(data: bytes, *, what: str, limits: ImageLimits = LIMITS) -> Image.Image:
    """Decode a picture to upright RGB pixels, with EXIF orientation applied.

    `what` names the picture in errors. Raises DataError with the reason: empty, oversized, unknown kind,
    too many pixels, animated, truncated or undecodable.
    """
    if len(data) > limits.max_bytes:
        raise _refused(what, f"{len(data)} bytes, at most {limits.max_bytes} are read")
    kind = _kind(data, what=what)
    try:
        # A bomb between one and two times Pillow's own limit is a warning there; here it is refused.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd tags in metadata that nobody reads
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(data), formats=(kind,))
            _check_size(image.size, what=what, limits=limits)
            _check_still(image, what=what)
            return _rgb(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise _refused(
            what, f"more pixels than the {limits.max_pixels} that are read (a decompression bomb)"
        ) from err
    except _DECODE_ERRORS as err:
        raise _refused(what, _reason(err)) from err


def media_type(data: bytes, *, what: str = "image") -> tuple[str, str]:
    """Return media type and file suffix by the first bytes: ("image/png", "png"). Raises DataError."""
    return _MEDIA[_kind(data, what=what)]


def pixel_digest(image: Image.Image) -> str:
    """Return the hex SHA-256 of width and height (32 bits each, big-endian) and the RGB bytes, row by row.

    Two files with this digest show the same picture, whatever their encoding (specs/formats/set.md 3).
    """
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return hashlib.sha256(struct.pack(">II", *rgb.size) + rgb.tobytes()).hexdigest()


def grey_like(image: Image.Image) -> Image.Image:
    """Return a mid-grey (128, 128, 128) picture of the same size: the control that shows nothing."""
    return Image.new("RGB", image.size, (128, 128, 128))


def to_png(image: Image.Image) -> bytes:
    """Encode a Pillow image, upright, as PNG without clock, text or profile.

    Raises DataError when its pixels cannot be read from the file behind it.
    """
    buffer = io.BytesIO()
    try:
        _rgb(ImageOps.exif_transpose(image)).save(buffer, "PNG", compress_level=6)
    except _DECODE_ERRORS as err:
        raise _refused("image", _reason(err)) from err
    return buffer.getvalue()


def _refused(what: str, reason: str) -> DataError:
    return DataError(f"{what}: {reason}", hint=HINT)


def _kind(data: bytes, *, what: str) -> str:
    """Name the encoding by its signature, never by a file name."""
    if not data:
        raise _refused(what, "the file is empty (0 bytes)")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    foreign = next((name for magic, name in _FOREIGN if data.startswith(magic)), None)
    if data[4:8] == b"ftyp":
        foreign = "a HEIC, AVIF or MP4 file"
    raise _refused(what, f"not a picture that is read here: {foreign or 'unknown first bytes'}")


def _check_size(size: tuple[int, int], *, what: str, limits: ImageLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise _refused(what, f"{width} x {height} pixels")
    if width * height > limits.max_pixels:
        raise _refused(what, f"{width} x {height} pixels, more than the {limits.max_pixels} that are read")
    if max(size) > limits.max_side:
        raise _refused(what, f"{width} x {height} pixels, a side may have {limits.max_side}")


def _check_still(image: Image.Image, *, what: str) -> None:
    # Phones store previews and depth maps behind a JPEG (MPO); the first frame is the picture.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise _refused(what, "animated: it has more than one frame")


def _rgb(image: Image.Image) -> Image.Image:
    """Return RGB pixels: transparency over white, 16 bits to the high 8, the rest as Pillow converts it."""
    if image.mode.startswith("I"):
        image = image.point(lambda value: value * (1 / 256)).convert(
            "L"
        )  # convert alone would clip, not scale
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    rgb = image.convert("RGB")
    rgb.info = {}
    return rgb


def _reason(err: BaseException) -> str:
    if "truncated" in str(err).lower():
        return f"truncated: {err}"
    return f"cannot be decoded: {err or type(err).__name__}"
