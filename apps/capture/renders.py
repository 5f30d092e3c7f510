"""Packs of drawn pictures: questions whose answers are known because the picture was drawn from them.

They measure the pipeline, not the field: a drawn receipt is cleaner than a real one.
"""

import io
import json
import random
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

from PIL import Image, ImageChops, ImageFont

from kolm.errors import SpecError
from kolm.files import make_folder, new_folder, refusal, write_atomic

Row = Mapping[str, Any]
"""A row of a pack, as specs/formats/pack.md 2 writes it."""


def write_drawn_pack(directory: Path, *, head: str, rows: Iterable[tuple[Row, bytes]]) -> None:
    """Write a pack of drawn rows, each with the encoded picture it names, to `directory`: all or nothing.

    `head` is the pack.yaml. Raises SpecError when the folder holds something, StorageError when the disk
    refuses.
    """
    with new_folder(directory) as draft:
        make_folder(draft / "images")
        lines = []
        for row, picture in rows:
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
            _keep(draft / row["image"], picture)
        write_atomic(draft / "pack.jsonl", "".join(lines).encode())
        write_atomic(draft / "pack.yaml", head.encode())


def check_count(rows: int) -> None:
    """Raise SpecError when a pack of so many rows cannot be drawn."""
    if rows < 1:
        raise SpecError(f"{rows} rows cannot be drawn", hint="ask for at least 1")


def source(seed: int, *, kind: str, number: int) -> random.Random:
    """Return the chances of one picture: they depend on nothing but its seed, kind and number."""
    return random.Random(f"{kind} {seed} {number}")  # noqa: S311 - pictures, not secrets


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font in a size in pixels. Raises SpecError where Pillow came without FreeType."""
    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise SpecError(
            "this Pillow has no FreeType, so no font", hint="pip install --force-reinstall pillow"
        )
    return found


def speckled(picture: Image.Image, *, sigma: float, chances: random.Random) -> Image.Image:
    """Add the grain of a camera to a picture: normal noise, the same in all channels."""
    width, height = picture.size
    spread = NormalDist(128, sigma)
    steps = [round(spread.inv_cdf((value + 0.5) / 256)) for value in range(256)]
    grain = Image.frombytes("L", picture.size, chances.randbytes(width * height)).point(steps)
    return ImageChops.add(picture, Image.merge("RGB", [grain] * 3), offset=-128)


def to_jpeg(picture: Image.Image) -> bytes:
    """Encode a picture as a camera would: JPEG of quality 90."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _keep(path: Path, data: bytes) -> None:
    """Write a picture once, however many rows ask about it."""
    try:
        if not path.exists():
            path.write_bytes(data)
    except OSError as err:
        raise refusal(err, action="write", path=path) from err
