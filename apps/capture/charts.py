"""The charts demo: bar, line and pie charts of real tables, with questions whose answers are known.

Whole tables are training, validation or eval, and so is every look: no chart of one side has the kind, the
numbers and the colours of a chart of another, so that no two of their pictures differ only in small print.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from apps.capture.demo import Asked, Demo, Side
from apps.capture.drawing import COLOURS, Chart, draw
from apps.capture.tables import TABLES, Group, groups, rounded, tenths

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
"""Words of the numbers 1 to 8, all of which the shipped bases can say."""

MARKS = 3
"""Marks of a chart: as many as stay apart in 48 x 48 pixels, where the shipped bases look."""

TOP = 5
"""Where the axis of a bar or line chart ends."""

PROMPTS = {
    "largest": "Which colour is the largest? Answer with one word.",
    "smallest": "Which colour is the smallest? Answer with one word.",
    "lookup": "Which number is {}? Answer with one word.",
    "difference": "Which number is the largest less the smallest? Answer with one word.",
}
SLICES = {"largest": "extremum", "smallest": "extremum", "lookup": "lookup", "difference": "difference"}

PACK = """\
# An eval pack: rows with known answers. Nothing here is ever trained on.
kolm-pack: 1                    # version of this format
name: charts
version: 1
rows: pack.jsonl                # one row per line; its group, the table, is on no other side
cluster: image                  # the four questions about a chart are resampled together
slices:                         # answers are words, so exact@1 compares them whole
  extremum: {metric: exact@1}   # which colour is the largest, or the smallest
  lookup: {metric: exact@1}     # the number of one colour
  difference: {metric: exact@1} # the largest number less the smallest
"""

COUNTS: dict[Side, int] = {"train": 8000, "validation": 240, "eval": 600}

_HEADING = 30
"""Most letters of a heading, so that the unit behind it is seen."""

_KINDS = ("bar", "line", "pie")
_SHARES: dict[Side, range] = {"eval": range(1), "validation": range(1, 2), "train": range(2, 8)}
"""Eighths of all looks that each side is drawn from."""


def chart_rows(side: Side, count: int) -> Iterator[Asked]:
    """Yield the first `count` rows of a side: each chart is asked every question.

    A chart depends on its side and number alone. Raises SpecError without vega-datasets.
    """
    for number in range(-(-count // len(PROMPTS))):
        table, chart, colour = chart_of(side, number)
        picture, file = draw(chart), f"images/{number:04d}.png"
        for question in list(PROMPTS)[: count - number * len(PROMPTS)]:
            prompt, right = ask(question, chart, colour)
            row = f"{side}-{number:04d}-{question}"
            yield Asked(row, file, picture, prompt, right, SLICES[question], table)


def chart_of(side: Side, number: int) -> tuple[str, Chart, str]:
    """Return a chart of a side, the table it comes from and the colour that a lookup asks for."""
    chances = random.Random(f"charts {side} {number}")  # noqa: S311 - pictures, not secrets
    table, chart = _chart(side, _KINDS[number % len(_KINDS)], chances)
    return table, chart, chances.choice(chart.colours)


def ask(question: str, chart: Chart, colour: str) -> tuple[str, str]:
    """Return the text of a question about a chart, for a lookup about one colour, and its answer."""
    numbers = dict(zip(chart.colours, chart.numbers, strict=True))
    answers = {
        "largest": max(numbers, key=numbers.__getitem__),
        "smallest": min(numbers, key=numbers.__getitem__),
        "lookup": WORDS[numbers[colour] - 1],
        "difference": WORDS[max(chart.numbers) - min(chart.numbers) - 1],
    }
    return PROMPTS[question].format(colour), answers[question]


@dataclass(frozen=True)
class _Numbers:
    """A group of a table as whole numbers that can be drawn."""

    group: Group
    whole: tuple[int, ...]
    unit: str


@cache
def _drawable(table: str, kind: str) -> tuple[_Numbers, ...]:
    """Return the groups of a table that can be told apart: tenths in a pie, multiples of a unit else."""
    found = []
    for group in groups(table, MARKS):
        if kind == "pie":
            parts = tenths(group.values)
            found += [_Numbers(group, parts, "tenths")] if parts else []
        elif multiples := rounded(group.values, most=TOP):
            found.append(_Numbers(group, multiples[0], f"x {multiples[1]:g}"))
    return tuple(found)


def _chart(side: Side, kind: str, chances: random.Random) -> tuple[str, Chart]:
    """Draw lots for a table of the side, its numbers, their order and their colours."""
    tables = [table for table in TABLES[side] if _drawable(table, kind)]
    while True:
        table = chances.choice(tables)
        numbers = chances.choice(_drawable(table, kind))
        order = chances.sample(range(MARKS), MARKS)
        chart = Chart(
            kind=kind,
            title=f"{numbers.group.title[:_HEADING]}, {numbers.unit}",
            labels=tuple(numbers.group.labels[place] for place in order),
            numbers=tuple(numbers.whole[place] for place in order),
            colours=tuple(chances.sample(sorted(COLOURS), MARKS)),
            top=TOP,
        )
        if _eighth(chart) in _SHARES[side]:
            return table, chart


def _eighth(chart: Chart) -> int:
    """Return which eighth of all looks a chart belongs to: by kind, numbers and colours alone."""
    look = f"{chart.kind} {chart.numbers} {chart.colours}"
    return hashlib.sha256(look.encode()).digest()[0] % 8


CHARTS = Demo(
    name="charts",
    counts=COUNTS,
    rows=chart_rows,
    specs={"spec.yaml": "charts.yaml", "spec-3b.yaml": "charts-3b.yaml"},
    pack=PACK,
)
