"""Draw the synthetic pictures that the small bases learn from, and ask short questions about them.

Nothing here is a photograph, a scan or a row of a data set: digits are strokes along hand-placed
points or glyphs of Pillow's built-in font, shapes are filled outlines. Every picture is a function of
one numpy generator, so the same seed draws the same pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE = 48
"""Side of a finished picture, in pixels."""

CANVAS = 144
"""Side of the sheet a picture is drawn on before it is made smaller, in pixels."""

WRITTEN = 0.7
"""Share of digits that are written with a pen; the others are printed."""

COARSE = 0.0
"""Share of digits that look like an enlarged scan of few pixels."""

CELLS = (12, 24)
"""Fewest cells along the side of a coarse digit, and the bound they stay below."""

BLURRED = 0.3
"""Share of the other digits that are blurred a little."""

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

SHAPES: dict[str, tuple[float, ...]] = {
    "circle": (),
    "triangle": (0.0, -1.0, 0.9, 0.75, -0.9, 0.75),
    "square": (-0.8, -0.8, 0.8, -0.8, 0.8, 0.8, -0.8, 0.8),
    "diamond": (0.0, -1.0, 0.7, 0.0, 0.0, 1.0, -0.7, 0.0),
    "cross": (-0.3, -1, 0.3, -1, 0.3, -0.3, 1, -0.3, 1, 0.3, 0.3, 0.3, 0.3, 1, -0.3, 1, -0.3, 0.3, -1, 0.3, -1, -0.3, -0.3, -0.3),
}

Stroke = tuple[tuple[float, float], ...]

# Several ways to write each digit. One tuple is one way; it holds strokes, a stroke holds points (x right, y down, unit box).
# Strokes are drawn as smooth curves; a corner is a point that ends one stroke and starts the next.
DIGITS: tuple[tuple[tuple[Stroke, ...], ...], ...] = (
    (
        (((0.5, 0.0), (0.15, 0.2), (0.08, 0.55), (0.25, 0.92), (0.55, 1.0), (0.85, 0.8), (0.9, 0.4), (0.75, 0.08), (0.5, 0.0)),),
        (((0.6, 0.02), (0.25, 0.15), (0.15, 0.6), (0.35, 0.98), (0.7, 0.9), (0.85, 0.5), (0.75, 0.12), (0.45, 0.05)),),
    ),
    (
        (((0.5, 0.0), (0.5, 0.5), (0.5, 1.0)),),
        (((0.25, 0.25), (0.4, 0.15), (0.55, 0.0)), ((0.55, 0.0), (0.55, 0.5), (0.53, 1.0))),
        (((0.25, 0.25), (0.5, 0.0)), ((0.5, 0.0), (0.5, 1.0)), ((0.2, 1.0), (0.5, 1.0), (0.8, 1.0))),
    ),
    (
        (((0.15, 0.2), (0.4, 0.0), (0.75, 0.1), (0.75, 0.4), (0.4, 0.75), (0.1, 1.0)), ((0.1, 1.0), (0.5, 0.97), (0.9, 1.0))),
        (((0.1, 0.15), (0.45, 0.0), (0.75, 0.2), (0.6, 0.6), (0.25, 0.95), (0.1, 0.85), (0.3, 0.78), (0.6, 0.95), (0.92, 0.9)),),
    ),
    (
        (((0.15, 0.08), (0.5, 0.0), (0.8, 0.18), (0.65, 0.42), (0.4, 0.47)), ((0.4, 0.47), (0.75, 0.55), (0.85, 0.8), (0.5, 1.0), (0.12, 0.9))),
        (((0.15, 0.0), (0.5, 0.02), (0.85, 0.0)), ((0.85, 0.0), (0.6, 0.25), (0.45, 0.42)), ((0.45, 0.42), (0.8, 0.55), (0.8, 0.85), (0.45, 1.0), (0.12, 0.9))),
    ),
    (
        (((0.6, 0.0), (0.3, 0.35), (0.08, 0.68)), ((0.08, 0.68), (0.5, 0.66), (0.92, 0.64)), ((0.6, 0.0), (0.62, 0.5), (0.62, 1.0))),
        (((0.25, 0.0), (0.15, 0.3), (0.15, 0.52)), ((0.15, 0.52), (0.5, 0.55), (0.85, 0.48)), ((0.8, 0.02), (0.72, 0.5), (0.65, 1.0))),
        (((0.3, 0.02), (0.12, 0.45), (0.2, 0.58), (0.55, 0.55), (0.9, 0.48)), ((0.7, 0.3), (0.62, 0.65), (0.55, 1.0))),
    ),
    (
        (((0.25, 0.0), (0.2, 0.25), (0.18, 0.45)), ((0.18, 0.45), (0.5, 0.36), (0.82, 0.55), (0.8, 0.85), (0.45, 1.0), (0.12, 0.9)), ((0.25, 0.0), (0.55, 0.02), (0.88, 0.0))),
        (((0.85, 0.02), (0.5, 0.0), (0.3, 0.08), (0.25, 0.4)), ((0.25, 0.4), (0.6, 0.42), (0.78, 0.68), (0.6, 0.95), (0.15, 0.98))),
    ),
    (
        (((0.65, 0.0), (0.35, 0.2), (0.15, 0.6), (0.3, 0.95), (0.65, 0.98), (0.82, 0.75), (0.6, 0.55), (0.3, 0.62), (0.18, 0.75)),),
        (((0.45, 0.0), (0.25, 0.35), (0.18, 0.7), (0.4, 1.0), (0.75, 0.9), (0.75, 0.62), (0.45, 0.58), (0.22, 0.78)),),
    ),
    (
        (((0.1, 0.05), (0.5, 0.03), (0.9, 0.02)), ((0.9, 0.02), (0.62, 0.45), (0.4, 1.0))),
        (((0.1, 0.08), (0.5, 0.02), (0.85, 0.05)), ((0.85, 0.05), (0.6, 0.5), (0.45, 1.0)), ((0.3, 0.52), (0.55, 0.5), (0.82, 0.48))),
        (((0.12, 0.2), (0.15, 0.03)), ((0.15, 0.03), (0.5, 0.05), (0.85, 0.02)), ((0.85, 0.02), (0.55, 0.5), (0.45, 1.0))),
    ),
    (
        (((0.5, 0.47), (0.2, 0.3), (0.25, 0.05), (0.6, 0.0), (0.8, 0.2), (0.5, 0.47), (0.18, 0.72), (0.3, 0.98), (0.65, 0.98), (0.8, 0.75), (0.5, 0.47)),),
        (((0.75, 0.1), (0.4, 0.02), (0.25, 0.22), (0.5, 0.48), (0.75, 0.75), (0.5, 1.0), (0.22, 0.8), (0.5, 0.48), (0.78, 0.22), (0.75, 0.1)),),
    ),
    (
        (((0.8, 0.2), (0.5, 0.0), (0.2, 0.2), (0.3, 0.48), (0.65, 0.45), (0.8, 0.2)), ((0.8, 0.2), (0.76, 0.6), (0.7, 1.0))),
        (((0.78, 0.15), (0.45, 0.02), (0.2, 0.28), (0.45, 0.5), (0.75, 0.35), (0.78, 0.15)), ((0.78, 0.15), (0.82, 0.6), (0.6, 0.95), (0.2, 0.95))),
    ),
)
# fmt: skip


@dataclass(frozen=True)
class Row:
    """One picture and one conversation about it."""

    image: np.ndarray
    """RGB bytes, shape (SIDE, SIDE, 3)."""

    turns: tuple[tuple[str, str], ...]
    """Questions with their answers; the picture belongs to the first question."""

    system: str | None = None


def curve(points: np.ndarray, steps: int = 8) -> np.ndarray:
    """Pass a Catmull-Rom curve through points (n, 2) -> (about n * steps, 2)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0.0, 1.0, steps)[:, None, None]  # (steps, 1, 1)
    a, b, c, d = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]  # (n - 1, 2) each
    dense = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return dense.transpose(1, 0, 2).reshape(-1, 2)


def hand(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Move unit-box points (n, 2) the way a hand does: slant, turn, stretch and a slow wobble."""
    centred = points - 0.5
    wobble = rng.normal(0.0, 0.035, (2, 2))
    phase = rng.uniform(0.0, 2 * math.pi, (2, 2))
    for axis in (0, 1):
        for order in (0, 1):
            centred[:, axis] += wobble[axis, order] * np.sin((order + 1) * math.pi * points[:, 1 - axis] + phase[axis, order])
    angle, slant = rng.normal(0.0, 0.12), rng.normal(0.0, 0.2)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    stretch = np.array([[rng.uniform(0.55, 0.95), 0.0], [-slant, rng.uniform(0.8, 1.0)]])
    return centred @ stretch @ turn


def write_digit(rng: np.random.Generator, digit: int) -> Image.Image:
    """Write one digit as strokes: ink 255 on an empty sheet, mode L, CANVAS pixels square."""
    ways = DIGITS[digit]
    strokes = ways[rng.integers(len(ways))]
    # A corner is shared by two strokes, so both ends must move together: one offset per distinct point.
    offset = {p: rng.normal(0.0, 0.035, 2) for p in sorted({p for s in strokes for p in s})}
    lines = [curve(np.array([np.array(p) + offset[p] for p in stroke])) for stroke in strokes]
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
    ink = glyph(digit).resize((width, height)).rotate(rng.normal(0.0, 8.0), expand=True, resample=Image.Resampling.BILINEAR)
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


def coloured(ink: Image.Image, front: tuple[float, ...], back: tuple[float, ...]) -> np.ndarray:
    """Lay ink (mode L, SIDE square) in the front colour on the back colour -> bytes (SIDE, SIDE, 3)."""
    cover = np.asarray(ink, np.float32)[..., None] / 255.0  # (SIDE, SIDE, 1)
    mixed = cover * np.array(front, np.float32) + (1 - cover) * np.array(back, np.float32)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def two_colours(rng: np.random.Generator) -> tuple[str, str]:
    """Choose two different colour names."""
    names = list(COLOURS)
    first, second = rng.choice(len(names), 2, replace=False)
    return names[first], names[second]


def shade(rng: np.random.Generator, name: str) -> tuple[float, ...]:
    """Return a colour near the named one."""
    return tuple((np.array(COLOURS[name], float) + rng.normal(0.0, 8.0, 3)).tolist())


def draw_shape(rng: np.random.Generator, name: str, centre: tuple[float, float], radius: float) -> Image.Image:
    """Fill one shape on an empty sheet, mode L, CANVAS pixels square."""
    sheet = Image.new("L", (CANVAS, CANVAS))
    pen = ImageDraw.Draw(sheet)
    x, y = centre
    if name == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        return sheet
    outline = np.array(SHAPES[name], float).reshape(-1, 2)  # (corners, 2)
    angle = rng.normal(0.0, 0.12)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    pen.polygon([tuple(p) for p in (outline @ turn * radius + np.array([x, y])).tolist()], fill=255)
    return sheet


WORD_QUESTIONS = (
    "Which digit is written in this picture? Answer with one word.",
    "Which digit is written in this picture? Answer with one word.",
    "What digit is this? Answer with one word.",
    "Which number do you see? Answer with one word.",
    "Read the digit in the picture.",
    "Name the digit that is shown here.",
)
FIGURE_QUESTIONS = (
    "Which digit is written in this picture? Answer with one figure.",
    "What digit is this? Answer with a figure.",
    "Write the digit you see as a figure.",
)
SHAPE_QUESTIONS = (
    "Which shape is in this picture? Answer with one word.",
    "What shape is this?",
    "Name the shape that is shown here.",
)
COLOUR_QUESTIONS = (
    "What colour is the {}? Answer with one word.",
    "Which colour does the {} have?",
)
PLACE_QUESTIONS = (
    "What colour is the shape at the {}? Answer with one word.",
    "Which shape is at the {}? Answer with one word.",
)
SYSTEMS = ("You look at pictures and answer briefly.", "You are a helpful assistant.", "Answer with one word.")


def questions() -> list[str]:
    """List every question and system text once: what the tokenizer is trained on."""
    parts = ("digit", "shape", "background")
    colours = [question.format(part) for question in COLOUR_QUESTIONS for part in parts]
    places = [question.format(place) for question in PLACE_QUESTIONS for place in ("left", "right", "top", "bottom")]
    return sorted({*WORD_QUESTIONS, *FIGURE_QUESTIONS, *SHAPE_QUESTIONS, *colours, *places, *SYSTEMS})


def pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    """Choose one of the options."""
    return options[rng.integers(len(options))]


def digit_picture(rng: np.random.Generator, digit: int, front: str, back: str) -> np.ndarray:
    """Draw one digit in two named colours -> bytes (SIDE, SIDE, 3)."""
    ink = write_digit(rng, digit) if rng.random() < WRITTEN else print_digit(rng, digit)
    if rng.random() < COARSE:
        small = scanned(rng, ink)
    else:
        small = ink.resize((SIDE, SIDE), Image.Resampling.BOX)
        if rng.random() < BLURRED:
            small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    return coloured(small, shade(rng, front), shade(rng, back))


def plain_colours(rng: np.random.Generator) -> tuple[str, str]:
    """Choose white on black, more often than black on white."""
    return ("white", "black") if rng.random() < 0.7 else ("black", "white")


def draw_digit(rng: np.random.Generator, digit: int) -> Image.Image:
    """Draw one plain digit as a picture."""
    return Image.fromarray(digit_picture(rng, digit, *plain_colours(rng)))


def ask_digit(rng: np.random.Generator, digit: int) -> tuple[str, str]:
    """Ask for the digit, as a word more often than as a figure."""
    if rng.random() < 0.7:
        return pick(rng, WORD_QUESTIONS), WORDS[digit]
    return pick(rng, FIGURE_QUESTIONS), str(digit)


def plain_row(rng: np.random.Generator) -> Row:
    """Draw a plain digit and ask which one it is: the first lesson."""
    digit = int(rng.integers(10))
    return Row(digit_picture(rng, digit, *plain_colours(rng)), (ask_digit(rng, digit),))


def digit_row(rng: np.random.Generator) -> Row:
    """Draw a digit, often in colours, ask which one it is and sometimes what colour it has."""
    digit = int(rng.integers(10))
    front, back = plain_colours(rng) if rng.random() < 0.6 else two_colours(rng)
    turns = [ask_digit(rng, digit)]
    if rng.random() < 0.3:
        part, colour = ("digit", front) if rng.random() < 0.5 else ("background", back)
        turns.append((pick(rng, COLOUR_QUESTIONS).format(part), colour))
        if rng.random() < 0.3:
            turns.reverse()
    return Row(digit_picture(rng, digit, front, back), tuple(turns))


def shape_row(rng: np.random.Generator) -> Row:
    """Draw one shape and ask which it is or what colour it has."""
    front, back = two_colours(rng)
    name = pick(rng, tuple(SHAPES))
    centre = (CANVAS * rng.uniform(0.38, 0.62), CANVAS * rng.uniform(0.38, 0.62))
    ink = draw_shape(rng, name, centre, CANVAS * rng.uniform(0.2, 0.36)).resize((SIDE, SIDE), Image.Resampling.BOX)
    turns = [(pick(rng, SHAPE_QUESTIONS), name), (pick(rng, COLOUR_QUESTIONS).format("shape"), front)]
    if rng.random() < 0.5:
        turns.reverse()
    return Row(coloured(ink, shade(rng, front), shade(rng, back)), tuple(turns[: int(rng.integers(1, 3))]))


def pair_row(rng: np.random.Generator) -> Row:
    """Draw two shapes in different places and ask about one of them by its place."""
    front, back = two_colours(rng)
    other = pick(rng, tuple(c for c in COLOURS if c not in (front, back)))
    names = pick(rng, tuple(SHAPES)), pick(rng, tuple(SHAPES))
    upright = rng.random() < 0.5
    image = np.empty((SIDE, SIDE, 3), np.uint8)
    image[:] = np.clip(shade(rng, back), 0, 255)
    places = ("top", "bottom") if upright else ("left", "right")
    for name, colour, near in zip(names, (front, other), (0.26, 0.74), strict=True):
        along, across = CANVAS * near, CANVAS * rng.uniform(0.3, 0.7)
        centre = (across, along) if upright else (along, across)
        ink = draw_shape(rng, name, centre, CANVAS * rng.uniform(0.15, 0.22)).resize((SIDE, SIDE), Image.Resampling.BOX)
        cover = np.asarray(ink, np.float32)[..., None] / 255.0  # (SIDE, SIDE, 1)
        image = np.clip(cover * np.array(shade(rng, colour)) + (1 - cover) * image, 0, 255).astype(np.uint8)
    which = int(rng.integers(2))
    asked = [
        (PLACE_QUESTIONS[0].format(places[which]), (front, other)[which]),
        (PLACE_QUESTIONS[1].format(places[which]), names[which]),
    ]
    return Row(image, (asked[int(rng.integers(2))],))


def draw_row(rng: np.random.Generator) -> Row:
    """Draw the next picture: mostly digits, then single shapes, then pairs of shapes; one in ten has a system turn."""
    kind = rng.random()
    row = digit_row(rng) if kind < 0.7 else shape_row(rng) if kind < 0.87 else pair_row(rng)
    return Row(row.image, row.turns, pick(rng, SYSTEMS) if rng.random() < 0.1 else None)
