"""Bar, line and pie charts drawn with Pillow and its own font: large coloured areas, small labels."""

import math
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageFont

from apps.capture.tables import Group

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (46, 150, 60),
    "blue": (40, 80, 205),
    "yellow": (240, 210, 50),
    "purple": (130, 50, 160),
    "orange": (240, 130, 30),
}
"""Colours of the marks, by the words of the answers."""

SIDE = 288
"""Width and height of a chart, in pixels."""

_SCALE = 2  # drawn larger, then made smaller: edges without steps
_PAPER = (255, 255, 255)
_INK = (70, 70, 70)


def draw(kind: str, group: Group, colours: Sequence[str]) -> Image.Image:
    """Return a chart of a group, SIDE x SIDE; `kind` is `bar`, `line` or `pie`."""
    sheet = Image.new("RGB", (SIDE * _SCALE, SIDE * _SCALE), _PAPER)
    pen = ImageDraw.Draw(sheet)
    _KINDS[kind](pen, group, [COLOURS[colour] for colour in colours])
    title = f"{group.table}: {group.title}"
    pen.text((SIDE * _SCALE / 2, 18), title[:38], fill=_INK, font=_font(18), anchor="mm")
    return sheet.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _bars(pen: ImageDraw.ImageDraw, group: Group, colours: Sequence[tuple[int, int, int]]) -> None:
    left, top, right, bottom = _plot(pen)
    step = (right - left) / len(group.values)
    most = max(group.values)
    for place, (label, value, colour) in enumerate(zip(group.labels, group.values, colours, strict=True)):
        x = left + step * place
        pen.rectangle(
            (x + step * 0.12, bottom - (bottom - top) * value / most, x + step * 0.88, bottom), fill=colour
        )
        pen.text((x + step / 2, bottom + 16), label, fill=_INK, font=_font(15), anchor="mm")


def _lines(pen: ImageDraw.ImageDraw, group: Group, colours: Sequence[tuple[int, int, int]]) -> None:
    """Each label is a line from 0 to its number: what ends highest is largest."""
    left, top, right, bottom = _plot(pen)
    most = max(group.values)
    for label, value, colour in zip(group.labels, group.values, colours, strict=True):
        end = bottom - (bottom - top) * value / most
        middle = bottom - (bottom - end) * 0.4
        pen.line(
            [(left, bottom), ((left + right) / 2, middle), (right - 60, end)],
            fill=colour,
            width=26,
            joint="curve",
        )
        pen.text((right - 28, end), label[:6], fill=_INK, font=_font(13), anchor="mm")


def _pie(pen: ImageDraw.ImageDraw, group: Group, colours: Sequence[tuple[int, int, int]]) -> None:
    edge = SIDE * _SCALE
    box = (edge * 0.1, edge * 0.12, edge * 0.9, edge * 0.92)
    total, angle = sum(group.values), -90.0
    for label, value, colour in zip(group.labels, group.values, colours, strict=True):
        end = angle + 360 * value / total
        pen.pieslice(box, angle, end, fill=colour)
        at = math.radians((angle + end) / 2)
        x, y = edge * (0.5 + 0.28 * math.cos(at)), edge * (0.52 + 0.28 * math.sin(at))
        pen.text((x, y), label, fill=(255, 255, 255), font=_font(15), anchor="mm")
        angle = end


def _plot(pen: ImageDraw.ImageDraw) -> tuple[float, float, float, float]:
    edge = SIDE * _SCALE
    box = (edge * 0.06, edge * 0.1, edge * 0.97, edge * 0.92)
    pen.line([(box[0], box[1]), (box[0], box[3]), (box[2], box[3])], fill=_INK, width=3)
    return box


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


_KINDS: dict[str, Callable[[ImageDraw.ImageDraw, Group, Sequence[tuple[int, int, int]]], None]] = {
    "bar": _bars,
    "line": _lines,
    "pie": _pie,
}
