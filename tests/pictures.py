"""Small pictures for tests."""

import io
from pathlib import Path

from PIL import Image


def png_of(colour: str | tuple[int, int, int] = "red", *, side: int = 8, compress_level: int = 6) -> bytes:
    """One colour, encoded; another compression gives other bytes and the same pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG", compress_level=compress_level)
    return buffer.getvalue()


def shade(number: int) -> bytes:
    """Return the picture of a number: every number has its own."""
    return png_of((number % 256, number // 256 % 256, 99))


def write_png(path: Path, colour: str | tuple[int, int, int] = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_of(colour))
    return path


def two_tone(width: int, height: int, colour: str) -> Image.Image:
    """Return a picture of one colour with a white patch in its upper left."""
    picture = Image.new("RGB", (width, height), colour)
    picture.paste("white", (0, 0, width // 3, height // 2))
    return picture
