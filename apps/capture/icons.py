"""Small icons made of strokes on a grid of 24: what screens show where they do not write."""

from collections.abc import Sequence

from PIL import ImageDraw

Stroke = tuple[str, Sequence[float]]
"""`line`, `area` (points x, y, x, y, ...), `circle`, `disc` (x, y, radius) or `box` (x1, y1, x2, y2)."""

GRID = 24

ICONS: dict[str, tuple[Stroke, ...]] = {
    "a magnifying glass": (("circle", (10, 10, 6)), ("line", (14.5, 14.5, 21, 21))),
    "a house": (("line", (3, 12, 12, 4, 21, 12)), ("line", (6, 10, 6, 20, 18, 20, 18, 10))),
    "an envelope": (("box", (3, 6, 21, 18)), ("line", (3, 6, 12, 13, 21, 6))),
    "a plus sign": (("line", (12, 4, 12, 20)), ("line", (4, 12, 20, 12))),
    "a dustbin": (
        ("line", (4, 7, 20, 7)),
        ("line", (9, 7, 9, 4, 15, 4, 15, 7)),
        ("line", (6, 7, 7, 20, 17, 20, 18, 7)),
        ("line", (12, 10, 12, 17)),
    ),
    "a bell": (
        ("line", (5, 17, 7, 14, 7, 10, 9, 6, 12, 5, 15, 6, 17, 10, 17, 14, 19, 17, 5, 17)),
        ("disc", (12, 19.5, 1.8)),
    ),
    "an arrow to the left": (("line", (21, 12, 4, 12)), ("line", (10, 6, 4, 12, 10, 18))),
    "an arrow to the right": (("line", (3, 12, 20, 12)), ("line", (14, 6, 20, 12, 14, 18))),
    "a folder": (("line", (3, 19, 3, 5, 9, 5, 11, 8, 21, 8, 21, 19, 3, 19)),),
    "a printer": (
        ("line", (7, 9, 7, 3, 17, 3, 17, 9)),
        ("line", (7, 16, 3, 16, 3, 9, 21, 9, 21, 16, 17, 16)),
        ("box", (7, 13, 17, 21)),
    ),
    "a star": (
        (
            "area",
            (12, 3, 14.7, 9.2, 21, 9.8, 16.2, 14, 17.6, 20.5, 12, 17, 6.4, 20.5, 7.8, 14, 3, 9.8, 9.3, 9.2),
        ),
    ),
    "a pencil": (("line", (4, 20, 5, 16, 16, 5, 19, 8, 8, 19, 4, 20)), ("line", (13.5, 7.5, 16.5, 10.5))),
    "a clock": (("circle", (12, 12, 9)), ("line", (12, 6, 12, 12, 16, 14))),
    "a padlock": (("line", (8, 11, 8, 7, 10, 4, 14, 4, 16, 7, 16, 11)), ("box", (5, 11, 19, 20))),
    "a flag": (("line", (6, 21, 6, 4)), ("area", (6, 4, 19, 4, 15, 8.5, 19, 13, 6, 13))),
    "a person": (("circle", (12, 8, 4)), ("line", (4, 21, 5, 17, 9, 14.5, 15, 14.5, 19, 17, 20, 21))),
    "a heart": (("area", (12, 20, 4, 12, 3.5, 8, 6, 5, 9, 5, 12, 8, 15, 5, 18, 5, 20.5, 8, 20, 12)),),
    "a camera": (
        ("line", (3, 19, 3, 7, 8, 7, 10, 4, 14, 4, 16, 7, 21, 7, 21, 19, 3, 19)),
        ("circle", (12, 13, 4)),
    ),
    "a speech bubble": (("line", (3, 4, 21, 4, 21, 16, 11, 16, 6, 21, 6, 16, 3, 16, 3, 4)),),
    "a calendar": (
        ("box", (4, 5, 20, 20)),
        ("line", (4, 10, 20, 10)),
        ("line", (8, 3, 8, 7)),
        ("line", (16, 3, 16, 7)),
    ),
}  # fmt: skip
"""Strokes by the words that say what they show."""


def draw_icon(
    pen: ImageDraw.ImageDraw,
    name: str,
    corner: tuple[float, float],
    *,
    side: float,
    colour: tuple[int, int, int],
) -> None:
    """Draw an icon into the square of `side` pixels whose upper left corner is given."""
    unit, width = side / GRID, max(1, round(side / 11))
    for kind, numbers in ICONS[name]:
        if kind in ("circle", "disc"):
            x, y, radius = numbers
            numbers = (x - radius, y - radius, x + radius, y + radius)
        places = [
            (corner[0] + x * unit, corner[1] + y * unit)
            for x, y in zip(numbers[::2], numbers[1::2], strict=True)
        ]
        if kind == "line":
            pen.line(places, fill=colour, width=width, joint="curve")
        elif kind == "area":
            pen.polygon(places, fill=colour)
        elif kind == "box":
            pen.rectangle(places, outline=colour, width=width)
        else:
            pen.ellipse(places, outline=colour, width=width, fill=colour if kind == "disc" else None)
