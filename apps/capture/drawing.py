"""Bar, line and pie charts, drawn with Pillow and its own font: large coloured marks, small labels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (46, 150, 60),
    "blue": (40, 80, 205),
    "yellow": (240, 210, 50),
    "purple": (130, 50, 160),
    "orange": (240, 130, 30),
}
"""Colours of the marks, by the words that name them in questions and answers."""

SIDE = 192
"""Width and height of a chart, in pixels."""

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

_SCALE = 2  # drawn larger, then made smaller: edges without steps
_EDGE = SIDE * _SCALE
_PAPER = (255, 255, 255)
_INK = (70, 70, 70)


@dataclass(frozen=True)
class Chart:
    """What is drawn: one mark for each number."""

    kind: str
    """`bar`, `line` or `pie`."""
    title: str
    labels: tuple[str, ...]
    numbers: tuple[int, ...]
    """Whole numbers of at least 1, in the unit that the title names."""
    colours: tuple[str, ...]
    """Keys of COLOURS, one for each number."""
    top: int
    """Where the axis ends, at least the largest number; a pie has none."""


def draw(chart: Chart) -> Image.Image:
    """Return a chart, SIDE x SIDE pixels of RGB. The same chart gives the same pixels with one Pillow."""
    sheet = Image.new("RGB", (_EDGE, _EDGE), _PAPER)
    pen = ImageDraw.Draw(sheet)
    _KINDS[chart.kind](pen, chart, [COLOURS[colour] for colour in chart.colours])
    pen.text((_EDGE / 2, 12), chart.title, fill=_INK, font=ImageFont.load_default(18), anchor="mm")
    return sheet.reduce(_SCALE)


def _bars(pen: ImageDraw.ImageDraw, chart: Chart, colours: Sequence[Colour]) -> None:
    for (x, y, width), colour in zip(_places(pen, chart), colours, strict=True):
        pen.rectangle((x - width * 0.4, y, x + width * 0.4, _PLOT[3]), fill=colour)


def _lines(pen: ImageDraw.ImageDraw, chart: Chart, colours: Sequence[Colour]) -> None:
    """One line through all numbers, each marked by a large point."""
    places = list(_places(pen, chart))
    pen.line([(x, y) for x, y, _ in places], fill=_INK, width=6)
    for (x, y, _), colour in zip(places, colours, strict=True):
        pen.ellipse((x - 34, y - 34, x + 34, y + 34), fill=colour)


def _pie(pen: ImageDraw.ImageDraw, chart: Chart, colours: Sequence[Colour]) -> None:
    """Parts clockwise from the top; the rim has a notch for each whole."""
    box = (_EDGE * 0.07, _EDGE * 0.1, _EDGE * 0.93, _EDGE * 0.96)
    total, angle = sum(chart.numbers), -90.0
    for label, number, colour in zip(chart.labels, chart.numbers, colours, strict=True):
        end = angle + 360 * number / total
        pen.pieslice(box, angle, end, fill=colour)
        x, y = _on_circle(box, (angle + end) / 2, 0.6)
        pen.text((x, y), label, fill=(255, 255, 255), font=ImageFont.load_default(18), anchor="mm")
        angle = end
    for notch in range(total):
        at = -90 + 360 * notch / total
        pen.line([_on_circle(box, at, 0.9), _on_circle(box, at, 1.0)], fill=_PAPER, width=4)


def _on_circle(box: Box, degrees: float, share: float) -> tuple[float, float]:
    """Return a point at a share of the radius, clockwise from the right."""
    radius, at = (box[2] - box[0]) / 2 * share, math.radians(degrees)
    return (box[0] + box[2]) / 2 + radius * math.cos(at), (box[1] + box[3]) / 2 + radius * math.sin(at)


_PLOT: Box = (_EDGE * 0.04, _EDGE * 0.08, _EDGE * 0.99, _EDGE * 0.93)


def _places(pen: ImageDraw.ImageDraw, chart: Chart) -> list[tuple[float, float, float]]:
    """Draw the axes and labels; return where each number stands: middle, height and room, in sheet pixels."""
    left, top, right, bottom = _PLOT
    rise, room = (bottom - top) / (chart.top + 0.5), (right - left) / len(chart.numbers)
    for tick in range(chart.top + 1):
        y = bottom - rise * tick
        pen.line([(left, y), (right, y)], fill=(215, 215, 215), width=2)
        pen.text((left - 4, y), str(tick), fill=_INK, font=ImageFont.load_default(16), anchor="rm")
    middles = [left + room * (place + 0.5) for place in range(len(chart.numbers))]
    for x, label in zip(middles, chart.labels, strict=True):
        pen.text((x, bottom + 13), label, fill=_INK, font=ImageFont.load_default(17), anchor="mm")
    return [(x, bottom - rise * number, room) for x, number in zip(middles, chart.numbers, strict=True)]


_KINDS: dict[str, Callable[[ImageDraw.ImageDraw, Chart, Sequence[Colour]], None]] = {
    "bar": _bars,
    "line": _lines,
    "pie": _pie,
}
