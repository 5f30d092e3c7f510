"""A drawn desktop with a window full of things to click on, each with the box it was drawn in."""

import random
from collections.abc import Iterator

from apps.capture.canvas import Box, Screen, Theme, Widget
from apps.capture.icons import ICONS

SIZES = ((800, 500), (1000, 625), (800, 640), (1280, 800))
"""Width and height of a screen, in pixels; every pixel is a short decimal in thousandths."""

_WHITE, _DARK = (255, 255, 255), (32, 33, 36)
_THEMES = (
    Theme((52, 96, 140), (246, 246, 247), (228, 229, 232), _DARK, (190, 192, 196), _WHITE, (26, 110, 220)),
    Theme(
        (88, 60, 104), _WHITE, (240, 240, 242), (40, 40, 44), (205, 205, 210), (250, 250, 251), (120, 60, 190)
    ),
    Theme(
        (24, 28, 34), (43, 45, 49), (56, 58, 64), (228, 229, 231), (88, 91, 98), (32, 34, 37), (72, 150, 250)
    ),
    Theme(
        (0, 110, 110), (212, 208, 200), (10, 36, 106), (16, 16, 16), (128, 128, 124), _WHITE, (10, 36, 106)
    ),
    Theme(
        (150, 170, 140),
        (252, 250, 245),
        (235, 231, 220),
        (60, 54, 46),
        (200, 194, 180),
        _WHITE,
        (190, 90, 30),
    ),
)

_TITLES = (
    "Invoices", "Contacts", "Settings", "New message", "Projects", "Orders", "Calendar", "Library",
    "Reports",
)  # fmt: skip
_BUTTONS = (
    "Save", "Cancel", "Apply", "Send", "Delete", "Next", "Back", "Open", "Print", "Export", "Help", "Reset",
)  # fmt: skip
_FIELDS = {
    "Name": "Anna Berg", "Email": "info@example.org", "City": "Leeds", "Phone": "0113 496 0182",
    "Company": "Oak Ltd", "Street": "12 North Road", "Website": "example.org", "Subject": "Minutes of June",
    "Postcode": "LS1 4DY", "Country": "Portugal",
}  # fmt: skip
"""Text fields by their labels, and what stands in them when they are filled in."""

_ENTRIES = (
    "Overview", "Inbox", "Drafts", "Archive", "Accounts", "Billing", "Team", "History", "Storage",
    "Security",
)  # fmt: skip
_CHECKS = (
    "Remember me", "Send a copy", "Show details", "Notify by mail", "Use dark mode", "Keep open",
    "Sort by date", "Share with team", "Check spelling", "Start at login",
)  # fmt: skip

_CONTROLS: dict[str, list[list[tuple[float, float]]]] = {
    "the cross that closes": [[(0, 0), (1, 1)], [(0, 1), (1, 0)]],
    "the square that enlarges": [[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]],
    "the line that hides": [[(0, 0.9), (1, 0.9)]],
}
"""Controls of a window from the right to the left: their strokes in the unit square."""


def draw_desktop(chances: random.Random) -> Screen:
    """Draw a desktop: a bar of icons below, a window behind, and one in front with things to click on."""
    screen = Screen(chances.choice(SIZES), chances.choice(_THEMES), chances)
    width, height = screen.size
    icons = iter(chances.sample(list(ICONS), 13))
    titles = chances.sample(_TITLES, 2)
    bar = height - 40
    if chances.random() < 0.6:
        _behind(screen, titles[1], Box(width * 0.3, 14, width - 20, height * 0.7))
    screen.panel(Box(0, bar, width, height), (22, 24, 28))
    for at in range(chances.randint(2, 5)):
        left = 14 + at * 44
        screen.icon(next(icons), Box(left, bar + 4, left + 32, bar + 36), colour=(235, 235, 238))
    clock = f"{chances.randint(7, 21):02d}:{chances.randint(0, 59):02d}"
    screen.text(width - 14, bar + 20, clock, colour=_WHITE, anchor="rm")
    _front(screen, titles[0], _place(screen, bar), icons)
    return screen


def _place(screen: Screen, bar: int) -> Box:
    """Choose where the window in front stands, above the bar."""
    width, chances = screen.size[0], screen.chances
    wide, high = chances.randint(620, min(width - 40, 760)), chances.randint(400, min(bar - 20, 470))
    left, top = chances.randint(10, width - wide - 10), chances.randint(8, bar - high - 8)
    return Box(left, top, left + wide, top + high)


def _behind(screen: Screen, title: str, box: Box) -> None:
    """Draw a window without anything to click on that is asked about."""
    theme = screen.theme
    screen.panel(box, theme.window, edge=theme.line)
    screen.panel(Box(box.left, box.top, box.right, box.top + 28), theme.line)
    screen.text(box.left + 12, box.top + 14, title, colour=theme.ink)
    for at in range(int((box.bottom - box.top - 60) / 22)):
        end = box.left + (box.right - box.left) * screen.chances.uniform(0.4, 0.92)
        screen.stroke(
            [(box.left + 18, box.top + 52 + 22 * at), (end, box.top + 52 + 22 * at)], theme.line, width=5
        )


def _front(screen: Screen, title: str, box: Box, icons: Iterator[str]) -> None:
    """Draw the window in front: title, tools, entries at the left, fields, check boxes and buttons."""
    theme, chances = screen.theme, screen.chances
    screen.shadow(box)
    screen.panel(box, theme.window, edge=theme.line)
    _title(screen, title, box)
    tools = box.top + 32
    screen.panel(Box(box.left + 1, tools, box.right - 1, tools + 42), theme.window)
    for at in range(chances.randint(4, 8)):
        left = box.left + 10 + at * 40
        screen.icon(next(icons), Box(left, tools + 4, left + 34, tools + 38), colour=theme.ink)
    screen.stroke([(box.left, tools + 43), (box.right, tools + 43)], theme.line)
    left = _entries(screen, Box(box.left, tools + 44, box.left + 140, box.bottom))
    body = Box(left + 22, tools + 62, box.right - 22, box.bottom - 56)
    foot = _fields(screen, body)
    _checks(screen, Box(body.left, foot + 6, body.right, body.bottom))
    _buttons(screen, Box(body.left, box.bottom - 46, box.right - 18, box.bottom - 16))


def _title(screen: Screen, title: str, box: Box) -> None:
    """Draw the title bar with its small controls."""
    theme = screen.theme
    screen.panel(Box(box.left, box.top, box.right, box.top + 32), theme.bar, edge=theme.line)
    ink = _WHITE if sum(theme.bar) < 300 else theme.ink
    screen.text(box.left + 12, box.top + 16, title, colour=ink, size=15)
    for at, (name, strokes) in enumerate(_CONTROLS.items()):
        left, top, side = box.right - 26 - 26 * at, box.top + 10, 12
        for points in strokes:
            inner = [(left + 1 + x * (side - 2), top + 1 + y * (side - 2)) for x, y in points]
            screen.stroke(inner, ink, width=1)
        screen.widgets.append(
            Widget("control", f"{name} the window {title}", Box(left, top, left + side, top + side))
        )


def _entries(screen: Screen, box: Box) -> float:
    """Draw the list at the left, one entry chosen, or no list; return where it ends."""
    theme, chances = screen.theme, screen.chances
    if chances.random() < 0.25:
        return box.left
    screen.panel(Box(box.left + 1, box.top, box.right, box.bottom - 1), theme.field)
    screen.stroke([(box.right, box.top), (box.right, box.bottom)], theme.line)
    names = chances.sample(_ENTRIES, chances.randint(4, 8))
    chosen = chances.choice(names)
    for at, name in enumerate(names):
        entry = Box(box.left + 6, box.top + 8 + 30 * at, box.right - 6, box.top + 36 + 30 * at)
        if name == chosen:
            screen.panel(entry, theme.accent, round_=4)
        ink = _WHITE if name == chosen else theme.ink
        screen.text(entry.left + 10, (entry.top + entry.bottom) / 2, name, colour=ink)
        screen.widgets.append(Widget("entry", name, entry))
    return box.right


def _fields(screen: Screen, box: Box) -> float:
    """Draw labelled text fields below each other; return where they end."""
    theme, chances = screen.theme, screen.chances
    y = box.top
    for name in chances.sample(list(_FIELDS), chances.randint(2, 4)):
        shape = Box(box.left + 96, y, min(box.right, box.left + 96 + chances.randint(180, 320)), y + 28)
        screen.text(box.left, y + 14, name, colour=theme.ink)
        screen.panel(shape, theme.field, edge=theme.line, round_=3)
        if chances.random() < 0.5:
            screen.text(shape.left + 8, y + 14, _FIELDS[name], colour=theme.ink, size=13)
        screen.widgets.append(Widget("field", name, shape))
        y += 38
    return y


def _checks(screen: Screen, box: Box) -> None:
    """Draw check boxes, some of them ticked, in two columns."""
    theme, chances = screen.theme, screen.chances
    for at, name in enumerate(chances.sample(_CHECKS, chances.randint(2, 6))):
        left, top = box.left + (at % 2) * (box.right - box.left) / 2, box.top + (at // 2) * 26
        shape = Box(left, top, left + 14, top + 14)
        if top + 14 > box.bottom:
            return
        ticked = chances.random() < 0.4
        screen.panel(shape, theme.accent if ticked else theme.field, edge=theme.line, round_=2)
        if ticked:
            screen.stroke([(left + 3, top + 7), (left + 6, top + 10), (left + 11, top + 4)], _WHITE)
        screen.text(left + 22, top + 7, name, colour=theme.ink)
        screen.widgets.append(Widget("check", name, shape))


def _buttons(screen: Screen, box: Box) -> None:
    """Draw buttons from the right to the left, the last one in colour."""
    theme, chances = screen.theme, screen.chances
    right = box.right
    for at, name in enumerate(chances.sample(_BUTTONS, chances.randint(2, 4))):
        shape = Box(right - chances.randint(74, 96), box.top, right, box.bottom)
        fill, ink = (theme.accent, _WHITE) if at == 0 else (theme.field, theme.ink)
        screen.panel(shape, fill, edge=theme.line, round_=4)
        middle = ((shape.left + shape.right) / 2, (shape.top + shape.bottom) / 2)
        screen.text(*middle, name, colour=ink, anchor="mm")
        screen.widgets.append(Widget("button", name, shape))
        right = shape.left - 10
