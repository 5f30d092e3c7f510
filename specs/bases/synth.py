"""Draw the synthetic pictures that the small bases learn from: digits and coloured shapes.

Nothing here is a photograph, a scan or a row of a data set: digits are strokes along hand-placed points or
glyphs of Pillow's built-in font, shapes are filled outlines. Every picture is a function of one numpy
generator, so the same seed draws the same pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

T = TypeVar("T")

SIDE = 48
"""Side of a finished picture, in pixels."""

CANVAS = 144
"""Side of the sheet a picture is drawn on before it is made smaller, in pixels."""

CELLS = (8, 16)
"""Fewest cells along the side of a coarse digit, and the bound they stay below."""


@dataclass(frozen=True)
class Look:
    """How much digits look like the real scans a base is measured on; too much, and tuning adds nothing."""

    written: float
    """Share of digits that are written with a pen; the others are printed."""

    coarse: float
    """Share of digits that are drawn with few pixels and enlarged again."""

    blurred: float
    """Share of the others that are blurred a little."""


WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (46, 150, 60),
    "blue": (40, 80, 205),
    "yellow": (240, 210, 50),
    "purple": (130, 50, 160),
    "orange": (240, 130, 30),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
}

SHAPES = {
    "circle": "",
    "triangle": "0 -100, 90 75, -90 75",
    "square": "-80 -80, 80 -80, 80 80, -80 80",
    "diamond": "0 -100, 70 0, 0 100, -70 0",
    "cross": "-30 -100, 30 -100, 30 -30, 100 -30, 100 30, 30 30, "
    "30 100, -30 100, -30 30, -100 30, -100 -30, -30 -30",
}
"""Outlines around the middle, in percent of the radius; the circle has none."""

# Several ways to write each digit: a tuple of strokes, each a list of points in percent of the box, x right,
# y down. A stroke is drawn as a smooth curve; a corner is a point that ends one stroke and starts the next.
# fmt: off
DIGITS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (  # 0
        ("50 0, 15 20, 8 55, 25 92, 55 100, 85 80, 90 40, 75 8, 50 0",),
        ("60 2, 25 15, 15 60, 35 98, 70 90, 85 50, 75 12, 45 5",),
    ),
    (  # 1
        ("50 0, 50 50, 50 100",),
        ("25 25, 40 15, 55 0", "55 0, 55 50, 53 100"),
        ("25 25, 50 0", "50 0, 50 100", "20 100, 50 100, 80 100"),
    ),
    (  # 2
        ("15 20, 40 0, 75 10, 75 40, 40 75, 10 100", "10 100, 50 97, 90 100"),
        ("10 15, 45 0, 75 20, 60 60, 25 95, 10 85, 30 78, 60 95, 92 90",),
    ),
    (  # 3
        ("15 8, 50 0, 80 18, 65 42, 40 47", "40 47, 75 55, 85 80, 50 100, 12 90"),
        ("15 0, 50 2, 85 0", "85 0, 60 25, 45 42", "45 42, 80 55, 80 85, 45 100, 12 90"),
    ),
    (  # 4
        ("60 0, 30 35, 8 68", "8 68, 50 66, 92 64", "60 0, 62 50, 62 100"),
        ("25 0, 15 30, 15 52", "15 52, 50 55, 85 48", "80 2, 72 50, 65 100"),
        ("30 2, 12 45, 20 58, 55 55, 90 48", "70 30, 62 65, 55 100"),
    ),
    (  # 5
        ("25 0, 20 25, 18 45", "18 45, 50 36, 82 55, 80 85, 45 100, 12 90", "25 0, 55 2, 88 0"),
        ("85 2, 50 0, 30 8, 25 40", "25 40, 60 42, 78 68, 60 95, 15 98"),
    ),
    (  # 6
        ("65 0, 35 20, 15 60, 30 95, 65 98, 82 75, 60 55, 30 62, 18 75",),
        ("45 0, 25 35, 18 70, 40 100, 75 90, 75 62, 45 58, 22 78",),
    ),
    (  # 7
        ("10 5, 50 3, 90 2", "90 2, 62 45, 40 100"),
        ("10 8, 50 2, 85 5", "85 5, 60 50, 45 100", "30 52, 55 50, 82 48"),
        ("12 20, 15 3", "15 3, 50 5, 85 2", "85 2, 55 50, 45 100"),
    ),
    (  # 8
        ("50 47, 20 30, 25 5, 60 0, 80 20, 50 47, 18 72, 30 98, 65 98, 80 75, 50 47",),
        ("75 10, 40 2, 25 22, 50 48, 75 75, 50 100, 22 80, 50 48, 78 22, 75 10",),
    ),
    (  # 9
        ("80 20, 50 0, 20 20, 30 48, 65 45, 80 20", "80 20, 76 60, 70 100"),
        ("78 15, 45 2, 20 28, 45 50, 75 35, 78 15", "78 15, 82 60, 60 95, 20 95"),
    ),
)


def pick(rng: np.random.Generator, options: tuple[T, ...]) -> T:
    """Choose one of the options."""
    return options[rng.integers(len(options))]


def points_of(text: str) -> np.ndarray:
    """Read points like "50 0, 15 20", in percent, as an array (n, 2) in the unit box."""
    return np.array([point.split() for point in text.split(",")], float) / 100


def curve(points: np.ndarray, steps: int = 8) -> np.ndarray:
    """Pass a Catmull-Rom curve through points (n, 2) -> (about n * steps, 2)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0.0, 1.0, steps)[:, None, None]  # (steps, 1, 1)
    a, b, c, d = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]  # (n - 1, 2) each
    dense = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return dense.transpose(1, 0, 2).reshape(-1, 2)


def turned(angle: float) -> np.ndarray:
    """Return the matrix that turns points by an angle, (2, 2)."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def hand(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Move unit-box points (n, 2) the way a hand does: slant, turn, stretch and a slow wobble."""
    centred = points - 0.5
    wobble = rng.normal(0.0, 0.035, (2, 2))
    phase = rng.uniform(0.0, 2 * math.pi, (2, 2))
    for axis in (0, 1):
        for order in (0, 1):
            along = (order + 1) * math.pi * points[:, 1 - axis] + phase[axis, order]  # (n,)
            centred[:, axis] += wobble[axis, order] * np.sin(along)
    angle, slant = rng.normal(0.0, 0.12), rng.normal(0.0, 0.2)
    stretch = np.array([[rng.uniform(0.55, 0.95), 0.0], [-slant, rng.uniform(0.8, 1.0)]])
    return centred @ stretch @ turned(angle)


def write_digit(rng: np.random.Generator, digit: int) -> Image.Image:
    """Write one digit as strokes: ink 255 on an empty sheet, mode L, CANVAS pixels square."""
    strokes = [stroke.split(", ") for stroke in pick(rng, DIGITS[digit])]
    # A corner is shared by two strokes, so both ends must move together: every distinct point moves once.
    place = {point: points_of(point)[0] + rng.normal(0.0, 0.035, 2) for stroke in strokes for point in stroke}
    lines = [curve(np.stack([place[point] for point in stroke])) for stroke in strokes]
    sizes = np.cumsum([len(line) for line in lines])[:-1]
    flat = hand(rng, np.concatenate(lines))  # (points, 2)
    flat = flat - (flat.max(0) + flat.min(0)) / 2
    scale = CANVAS * rng.uniform(0.7, 0.95) / max(float(np.ptp(flat, axis=0).max()), 0.4)
    shift = CANVAS / 2 + rng.normal(0.0, 0.02 * CANVAS, 2)
    width = CANVAS * rng.uniform(0.05, 0.15)
    flat = flat * (scale * (1 - width / CANVAS)) + shift
    sheet = Image.new("L", (CANVAS, CANVAS))
    pen = ImageDraw.Draw(sheet)
    for line in np.split(flat, sizes):
        pen.line([tuple(p) for p in line.tolist()], fill=255, width=round(width), joint="curve")
        for x, y in (line[0].tolist(), line[-1].tolist()):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    return sheet


@cache
def glyph(digit: int) -> Image.Image:
    """Return the built-in font's digit, cropped to its ink, mode L."""
    font = ImageFont.load_default(CANVAS)
    sheet = Image.new("L", (2 * CANVAS, 2 * CANVAS))
    ImageDraw.Draw(sheet).text((CANVAS // 2, CANVAS // 4), str(digit), fill=255, font=font)
    return sheet.crop(sheet.getbbox())


def print_digit(rng: np.random.Generator, digit: int) -> Image.Image:
    """Print one digit with the built-in font, turned and stretched a little, mode L."""
    height = int(CANVAS * rng.uniform(0.6, 0.9))
    width = int(height * rng.uniform(0.45, 0.8) * (0.5 if digit == 1 else 1.0))
    ink = glyph(digit).resize((width, height))
    ink = ink.rotate(rng.normal(0.0, 8.0), expand=True, resample=Image.Resampling.BILINEAR)
    sheet = Image.new("L", (CANVAS, CANVAS))
    spot = ((np.array([CANVAS, CANVAS]) - ink.size) * rng.uniform(0.35, 0.65, 2)).astype(int)
    sheet.paste(ink, tuple(spot.tolist()))
    return sheet


def scanned(rng: np.random.Generator, ink: Image.Image) -> Image.Image:
    """Make ink coarse, as a scan of few pixels that is enlarged again: mode L, SIDE pixels square."""
    cells = int(rng.integers(*CELLS))
    box = ink.getbbox() or (0, 0, CANVAS, CANVAS)
    side = max(box[2] - box[0], box[3] - box[1])
    x, y = (box[0] + box[2] - side) // 2, (box[1] + box[3] - side) // 2
    tight = ink.crop((x, y, x + side, y + side))
    coarse = tight.resize((cells, cells), Image.Resampling.BOX)
    return coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def shade(rng: np.random.Generator, name: str) -> np.ndarray:
    """Return a colour near the named one: red, green, blue."""
    return np.array(COLOURS[name], float) + rng.normal(0.0, 8.0, 3)  # (3,)


def coloured(rng: np.random.Generator, ink: Image.Image, front: str, back: str) -> np.ndarray:
    """Lay ink (mode L) in about the front colour on about the back colour -> bytes (SIDE, SIDE, 3)."""
    cover = np.asarray(ink, np.float32)[..., None] / 255.0  # (SIDE, SIDE, 1)
    mixed = cover * shade(rng, front) + (1 - cover) * shade(rng, back)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def different_colours(rng: np.random.Generator, count: int) -> list[str]:
    """Choose several colour names, none of them twice."""
    return rng.permutation(list(COLOURS))[:count].tolist()


def shape_ink(
    rng: np.random.Generator, name: str, centre: tuple[float, float], radius: float
) -> Image.Image:
    """Fill one shape as ink, mode L, SIDE pixels square; centre and radius are in pixels of the sheet."""
    sheet = Image.new("L", (CANVAS, CANVAS))
    pen = ImageDraw.Draw(sheet)
    x, y = centre
    if name == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    else:
        corners = points_of(SHAPES[name]) @ turned(rng.normal(0.0, 0.12)) * radius + centre  # (n, 2)
        pen.polygon([tuple(corner) for corner in corners.tolist()], fill=255)
    return sheet.resize((SIDE, SIDE), Image.Resampling.BOX)


def digit_ink(rng: np.random.Generator, digit: int, look: Look) -> Image.Image:
    """Draw one digit as ink, mode L, SIDE pixels square."""
    ink = write_digit(rng, digit) if rng.random() < look.written else print_digit(rng, digit)
    if rng.random() < look.coarse:
        return scanned(rng, ink)
    small = ink.resize((SIDE, SIDE), Image.Resampling.BOX)
    if rng.random() < look.blurred:
        small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    return small


def plain_colours(rng: np.random.Generator) -> tuple[str, str]:
    """Choose white on black more often than black on white."""
    return ("white", "black") if rng.random() < 0.7 else ("black", "white")


def draw_digit(rng: np.random.Generator, digit: int, look: Look) -> Image.Image:
    """Draw one plain digit as a picture."""
    return Image.fromarray(coloured(rng, digit_ink(rng, digit, look), *plain_colours(rng)))
