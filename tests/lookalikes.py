"""Pictures and their copies, for tests of near duplicates: drawn sheets, re-encoded, resized and cropped."""

import io
import random
from collections.abc import Callable

from PIL import Image, ImageDraw

Chances = random.Random


def sheet(number: int, *, size: tuple[int, int] = (300, 360)) -> Image.Image:
    """Draw lines of marks of random lengths under one heading: alike from afar, different line by line."""
    chances = random.Random(f"sheet {number}")  # noqa: S311 - pictures, not secrets
    picture = Image.new("RGB", size, (250, 249, 245))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((60, 14, 240, 30), fill=(30, 30, 30))
    for top in range(48, size[1] - 20, 22):
        left = 16
        for _ in range(chances.randint(2, 4)):
            width = chances.randint(12, 60)
            pen.rectangle((left, top, left + width, top + 11), fill=(40, 40, 40))
            left += width + 9
        pen.rectangle((284 - chances.randint(20, 50), top, 284, top + 11), fill=(20, 20, 90))
    return picture


def jpeg(picture: Image.Image, quality: int = 60) -> Image.Image:
    """Return a picture as a JPEG keeps it."""
    return _encoded(picture, "JPEG", quality)


def webp(picture: Image.Image) -> Image.Image:
    """Return a picture as a WebP of quality 60 keeps it."""
    return _encoded(picture, "WEBP", 60)


def resized(picture: Image.Image, factor: float) -> Image.Image:
    """Return a picture scaled in both directions."""
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def cropped(
    picture: Image.Image, cuts: tuple[float, float, float, float] = (0.04, 0.02, 0.03, 0.05)
) -> Image.Image:
    """Cut shares of the sides away: left, top, right, bottom."""
    width, height = picture.size
    left, top, right, bottom = cuts
    return picture.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


def one_side(most: float, chances: Chances) -> tuple[float, float, float, float]:
    """Draw one side to cut so much away from."""
    cut = chances.randrange(4)
    left, top, right, bottom = (most if side == cut else 0.0 for side in range(4))
    return left, top, right, bottom


def all_sides(most: float, chances: Chances) -> tuple[float, float, float, float]:
    """Draw cuts of up to so much for each side."""
    return (
        chances.uniform(0, most),
        chances.uniform(0, most),
        chances.uniform(0, most),
        chances.uniform(0, most),
    )


COPIES: dict[str, Callable[[Image.Image, Chances], Image.Image]] = {
    "JPEG, quality 60": lambda picture, _: jpeg(picture),
    "WebP, quality 60": lambda picture, _: webp(picture),
    "50 % of the size": lambda picture, _: resized(picture, 0.5),
    "75 % of the size": lambda picture, _: resized(picture, 0.75),
    "150 % of the size": lambda picture, _: resized(picture, 1.5),
    "90 %, then JPEG, quality 60": lambda picture, _: jpeg(resized(picture, 0.9)),
    "5 % off one side": lambda picture, chances: cropped(picture, one_side(0.05, chances)),
    "10 % off one side": lambda picture, chances: cropped(picture, one_side(0.1, chances)),
    "up to 5 % off each side": lambda picture, chances: cropped(picture, all_sides(0.05, chances)),
    "up to 10 % off each side": lambda picture, chances: cropped(picture, all_sides(0.1, chances)),
    "10 % off each side": lambda picture, _: cropped(picture, (0.1, 0.1, 0.1, 0.1)),
    "up to 10 % off, 70 %, JPEG": lambda picture, chances: jpeg(
        resized(cropped(picture, all_sides(0.1, chances)), 0.7)
    ),
    "turned by 1 degree": lambda picture, _: picture.rotate(1, Image.Resampling.BICUBIC, fillcolor="white"),
    "15 % darker": lambda picture, _: picture.point(lambda value: value * 0.85),
}
"""Ways to make a copy of a picture, by their names in specs/formats/leaks.md."""


def _encoded(picture: Image.Image, kind: str, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
