"""Drawn screens with exact boxes: an eval pack of clicks on icons, words and small targets, and of places.

Answers are in thousandths of the picture's width and height, which no scaling of the picture changes.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from PIL import Image

from apps.capture.canvas import Box, Kind, Widget
from apps.capture.renders import Row, check_count, source, write_drawn_pack
from apps.capture.windows import draw_desktop
from kolm.images import to_png

PACK = """\
# Drawn screens. They measure the pipeline, not the field. Nothing here is ever trained on.
kolm-pack: 1
name: screens
version: 1
rows: pack.jsonl
cluster: image                          # a screen is asked about four times: its rows are resampled together
slices:                                 # coordinates are thousandths of width and height
  icon: {metric: click-thousand@1}      # an icon, by what it shows
  text: {metric: click-thousand@1}      # a button, field or entry, by what it says
  small: {metric: click-thousand@1}     # a check box or a control of the window, at most 14 pixels wide
  where: {metric: iou-thousand@1}       # the box of a button, field or icon
"""

SLICES: dict[str, tuple[Kind, ...]] = {
    "icon": ("icon",),
    "text": ("button", "field", "entry"),
    "small": ("check", "control"),
    "where": ("button", "field", "icon"),
}
"""What each slice asks about."""

_SAID: dict[Kind, str] = {
    "icon": "the icon that shows {}",
    "button": 'the button "{}"',
    "field": 'the text field "{}"',
    "entry": 'the entry "{}" of the list',
    "check": 'the check box "{}"',
    "control": "{}",
}
_SCALE = "in thousandths of the width and height of the picture"
_CLICK = "Click on {}. Answer with one point [x, y], " + _SCALE + "."
_WHERE = "Where is {}? Answer with one box [x1, y1, x2, y2], " + _SCALE + "."


@dataclass(frozen=True)
class Task:
    """One question about a screen: the slice it belongs to, its words, and the box that answers it."""

    slice: str
    prompt: str
    box: Box
    """In thousandths of width and height."""


@dataclass(frozen=True)
class Drawn:
    """A drawn screen and what is asked about it, one question for each slice."""

    picture: Image.Image
    tasks: tuple[Task, ...]


def write_screens(directory: Path, *, rows: int, seed: int) -> None:
    """Write an eval pack of `rows` questions about drawn screens, four to a screen, to `directory`.

    Raises SpecError when the folder holds something or there is nothing to draw, StorageError.
    """
    check_count(rows)
    write_drawn_pack(directory, head=PACK, rows=islice(_questions(seed), rows))


def draw_screen(*, seed: int, number: int) -> Drawn:
    """Draw the screen of a seed and a number: the same pixels and the same boxes every time."""
    chances = source(seed, kind="screen", number=number)
    screen = draw_desktop(chances)
    tasks = [_task(name, kinds, screen.widgets, screen.size, chances) for name, kinds in SLICES.items()]
    return Drawn(screen.picture, tuple(tasks))


def _task(
    slice_: str, kinds: tuple[Kind, ...], widgets: list[Widget], size: tuple[int, int], chances: random.Random
) -> Task:
    """Choose what a slice asks about: first the kind, so that rare kinds are asked about too."""
    shown = {kind: [widget for widget in widgets if widget.kind == kind] for kind in kinds}
    kind = chances.choice([kind for kind in kinds if shown[kind]])
    _, name, box = chances.choice(shown[kind])
    sentence = _WHERE if slice_ == "where" else _CLICK
    width, height = size
    place = Box(
        box.left * 1000 / width, box.top * 1000 / height, box.right * 1000 / width, box.bottom * 1000 / height
    )
    return Task(slice_, sentence.format(_SAID[kind].format(name)), place)


def _questions(seed: int) -> Iterator[tuple[Row, bytes]]:
    """Yield the rows of the pack, four about each screen, with its picture."""
    for number in count():
        drawn, name = draw_screen(seed=seed, number=number), f"screen-{number:04d}"
        picture = to_png(drawn.picture)
        for task in drawn.tasks:
            gold = ",".join(f"{edge:.8g}" for edge in task.box)
            row = {"id": f"{name}-{task.slice}", "image": f"images/{name}.png", "prompt": task.prompt}
            yield {**row, "gold": gold, "slice": task.slice}, picture
