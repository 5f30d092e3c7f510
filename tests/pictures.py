"""Small pictures for tests, and the rows and packs that show them."""

import io
from pathlib import Path

from PIL import Image

from kolm.gallery import Gallery
from kolm.pack import EvalPack, PackRow, pack_of


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


def row(colour: str, *, level: int = 6) -> dict[str, object]:
    """Return a training row about a picture of one colour; `level` changes its bytes, not its pixels."""
    return {"image": png_of(colour, compress_level=level), "prompt": "q", "response": "r"}


def pack(*pictures: bytes) -> EvalPack:
    """Return a pack with one question about each picture."""
    gallery = Gallery(root=Path())
    rows = [PackRow(f"e{n}", (gallery.add(data),), "q", ("r",), "all") for n, data in enumerate(pictures)]
    return pack_of(name="p", rows=rows, gallery=gallery)
