"""A screen while it is drawn: rectangles, words and icons, and the boxes of what can be clicked on."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from PIL import Image, ImageDraw, ImageFilter

from apps.capture.icons import draw_icon
from apps.capture.renders import font

Colour = tuple[int, int, int]
Kind = Literal["icon", "button", "field", "entry", "check", "control"]

_FINER = 2  # drawn larger, then made smaller: letters and edges without steps


class Box(NamedTuple):
    """Edges in pixels of the screen; the right and lower ones are the first beyond."""

    left: float
    top: float
    right: float
    bottom: float


class Widget(NamedTuple):
    """Something that can be clicked on."""

    kind: Kind
    name: str
    """What it says, or what its icon shows."""
    box: Box


class Theme(NamedTuple):
    """Colours of a screen."""

    desk: Colour
    window: Colour
    bar: Colour
    ink: Colour
    line: Colour
    field: Colour
    accent: Colour


@dataclass
class Screen:
    """A screen while it is drawn: its picture, and what on it can be clicked on."""

    size: tuple[int, int]
    theme: Theme
    chances: random.Random
    widgets: list[Widget] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._sheet = Image.new("RGB", (self.size[0] * _FINER, self.size[1] * _FINER), self.theme.desk)
        self._pen = ImageDraw.Draw(self._sheet)

    @property
    def picture(self) -> Image.Image:
        """The screen in its own pixels."""
        return self._sheet.reduce(_FINER)

    def panel(self, box: Box, fill: Colour, *, edge: Colour | None = None, round_: float = 0) -> None:
        """Fill a rectangle up to, and without, its right and lower edges."""
        left, top, right, bottom = (round(edge * _FINER) for edge in box)
        shape = (left, top, right - 1, bottom - 1)
        self._pen.rounded_rectangle(shape, round_ * _FINER, fill=fill, outline=edge, width=_FINER)

    def shadow(self, box: Box) -> None:
        """Darken what lies around a rectangle, most of all below it."""
        left, top, right, bottom = (edge * _FINER for edge in box)
        mask = Image.new("L", self._sheet.size, 0)
        ImageDraw.Draw(mask).rectangle((left, top + 4 * _FINER, right, bottom + 4 * _FINER), fill=130)
        self._sheet.paste((0, 0, 0), mask=mask.filter(ImageFilter.BoxBlur(5 * _FINER)))

    def text(
        self, x: float, y: float, words: str, *, colour: Colour, size: int = 14, anchor: str = "lm"
    ) -> None:
        """Write words, by default from the left with their middle at `y`."""
        self._pen.text((x * _FINER, y * _FINER), words, fill=colour, font=font(size * _FINER), anchor=anchor)

    def stroke(self, points: Sequence[tuple[float, float]], colour: Colour, *, width: float = 1.5) -> None:
        """Draw a line through points."""
        self._pen.line(
            [(x * _FINER, y * _FINER) for x, y in points], fill=colour, width=round(width * _FINER)
        )

    def icon(self, name: str, box: Box, *, colour: Colour) -> None:
        """Draw an icon that can be clicked on, inside its box."""
        inner = (box.right - box.left) * 0.66
        corner = ((box.left + box.right - inner) / 2 * _FINER, (box.top + box.bottom - inner) / 2 * _FINER)
        draw_icon(self._pen, name, corner, side=inner * _FINER, colour=colour)
        self.widgets.append(Widget("icon", name, box))
