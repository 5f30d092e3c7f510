"""A printed strip of paper, photographed on a desk: lines of text to a picture as a camera would see it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from apps.capture.renders import font, speckled

_DESKS = ((58, 44, 36), (92, 74, 58), (40, 42, 48), (120, 116, 110), (70, 82, 92), (30, 34, 30))
_PAPERS = ((250, 249, 245), (244, 243, 240), (252, 248, 236), (238, 240, 242), (247, 240, 226))
_CELL = 0.6
_TAB = 2.6
"""Width of a cell, and where the tab stands, in sizes of a letter."""


@dataclass(frozen=True)
class Line:
    """One printed line: text at the left, the tab, the right or the middle, or a rule or bar code across."""

    left: str = ""
    right: str = ""
    middle: str = ""
    tab: str = ""
    scale: float = 1.0
    rule: str = ""
    """`line`, `dashes`, `stars` or `bars`."""


@dataclass(frozen=True)
class _Printer:
    """How one strip is printed, in pixels."""

    size: int
    """Of the letters."""
    cells: bool
    """Letters stand in cells of one width, as old printers put them."""
    ink: int
    """Grey level."""
    margin: int
    leading: float
    """Height of a line over the size of its letters."""

    def width(self, text: str, *, scale: float) -> float:
        """Return the width of a text."""
        size = round(self.size * scale)
        return len(text) * size * _CELL if self.cells else font(size).getlength(text)

    def height(self, line: Line) -> int:
        """Return the height of a line."""
        return round(self.size * self.leading * (2.6 if line.rule == "bars" else line.scale))

    def room(self, line: Line) -> float:
        """Return the width that a line needs, with a gap between its left and its right."""
        left, right, middle, tab = (
            self.width(text, scale=line.scale) for text in (line.left, line.right, line.middle, line.tab)
        )
        return max(left + right, tab + right + _TAB * self.size, middle) + self.size

    def write(
        self, draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, *, scale: float
    ) -> None:
        """Write a text from its upper left corner; large letters are bold."""
        size = round(self.size * scale)
        style: dict[str, Any] = {"font": font(size), "fill": self.ink, "stroke_width": 0.4 * (scale > 1)}
        if not self.cells:
            draw.text(place, text, **style)
            return
        for at, letter in enumerate(text):
            draw.text((place[0] + (at + 0.5) * size * _CELL, place[1]), letter, anchor="ma", **style)


def print_strip(lines: Sequence[Line], chances: random.Random) -> Image.Image:
    """Return a strip of paper as ink on white, one channel, wide enough for its longest line."""
    printer = _Printer(
        size=chances.randint(14, 18),
        cells=chances.random() < 0.5,
        ink=chances.randint(24, 84),
        margin=chances.randint(14, 30),
        leading=chances.uniform(1.25, 1.6),
    )
    inner = max(printer.size * chances.uniform(18, 25), *(printer.room(line) for line in lines))
    heights = [printer.height(line) for line in lines]
    strip = Image.new("L", (round(inner) + 2 * printer.margin, sum(heights) + 2 * printer.margin), 255)
    y = printer.margin
    for line, height in zip(lines, heights, strict=True):
        box = (printer.margin, y, strip.width - printer.margin, y + height)
        _put(ImageDraw.Draw(strip), line, box, printer)
        if line.rule:
            _rule(ImageDraw.Draw(strip), line.rule, box, printer, chances)
        y += height
    return strip.filter(ImageFilter.GaussianBlur(chances.uniform(0.2, 0.5)))


def _put(draw: ImageDraw.ImageDraw, line: Line, box: tuple[int, int, int, int], printer: _Printer) -> None:
    """Print the texts of one line."""
    left, top, right, _ = box
    centred = (left + right - printer.width(line.middle, scale=line.scale)) / 2
    for text, x in (
        (line.left, left),
        (line.tab, left + _TAB * printer.size),
        (line.right, right - printer.width(line.right, scale=line.scale)),
        (line.middle, centred),
    ):
        printer.write(draw, (x, top), text, scale=line.scale)


def _rule(
    draw: ImageDraw.ImageDraw,
    kind: str,
    box: tuple[int, int, int, int],
    printer: _Printer,
    chances: random.Random,
) -> None:
    """Print a line, dashes, stars or a bar code across the paper."""
    left, top, right, bottom = box
    middle = (top + bottom) // 2 - 2
    if kind == "line":
        draw.line((left, middle, right, middle), fill=printer.ink)
    elif kind == "bars":
        x, end = left + (right - left) * 3 // 20, right - (right - left) * 3 // 20
        while x < end:
            bar = chances.choice((1, 1, 2, 3))
            draw.rectangle((x, top + 4, x + bar - 1, bottom - 4), fill=printer.ink)
            x += bar + chances.choice((1, 2, 3))
    else:
        step = printer.size * _CELL
        sign = "-" if kind == "dashes" else "*"
        for at in range(int((right - left) / step)):
            place = (left + (at + 0.5) * step, top)
            draw.text(place, sign, font=font(printer.size), fill=printer.ink, anchor="ma")


def photograph(strip: Image.Image, chances: random.Random) -> Image.Image:
    """Lay a strip of paper on a desk, turned a little, with shadow, shade and grain: an RGB picture."""
    paper = ImageChops.multiply(_shaded(strip.size, chances.choice(_PAPERS), chances), strip.convert("RGB"))
    outline = _outline(strip.size, chances)
    angle = chances.uniform(-3, 3)
    paper = paper.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    outline = outline.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    left, right, top, bottom = (chances.randint(12, 60) for _ in range(4))
    size = (paper.width + left + right, paper.height + top + bottom)
    desk = _shaded(size, chances.choice(_DESKS), chances)
    shadow = Image.new("L", size, 0)
    shadow.paste(
        outline.point(lambda value: value * 0.6), (left + chances.randint(2, 6), top + chances.randint(3, 8))
    )
    desk.paste((0, 0, 0), mask=shadow.filter(ImageFilter.GaussianBlur(chances.uniform(3, 7))))
    desk.paste(paper, (left, top), outline)
    return speckled(desk, sigma=chances.uniform(1.5, 5), chances=chances)


def _shaded(size: tuple[int, int], colour: tuple[int, int, int], chances: random.Random) -> Image.Image:
    """Return a surface of one colour, lit from one side."""
    light = Image.linear_gradient("L").rotate(chances.choice((0, 90, 180, 270))).resize(size)
    dim = chances.uniform(0.04, 0.22)
    light = light.point([255 - round(dim * value) for value in range(256)])
    return ImageChops.multiply(Image.new("RGB", size, colour), Image.merge("RGB", [light] * 3))


def _outline(size: tuple[int, int], chances: random.Random) -> Image.Image:
    """Return the mask of the paper, torn off above and below."""
    mask, (width, height) = Image.new("L", size, 0), size
    tooth = chances.randint(3, 7)
    xs = range(0, width + tooth, tooth)
    above = [(x, chances.uniform(0, 3)) for x in xs]
    below = [(x, height - 1 - chances.uniform(0, 3)) for x in reversed(xs)]
    ImageDraw.Draw(mask).polygon([*above, *below], fill=255)
    return mask
