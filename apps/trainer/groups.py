"""Which questions are asked in one pass: alike enough for their family, and no more than fit.

Pictures are never padded to each other's size: rows of one pass have pictures of the same inner shapes.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

from apps.trainer.batch import IGNORE, Row, is_sequence
from apps.trainer.decoders import sequence_of
from apps.trainer.families import Family, ImageCost

Batches = Literal["alone", "equal", "padded"]

ROWS_AT_ONCE = 32
"""Most rows of one pass where a spec says `auto`."""

TOKENS_AT_ONCE = 1 << 14
"""Most tokens, padding and answers included, of the rows of one pass: less than 1 GiB of keys and values of a
model of 7 billion parameters."""


def row_of(inputs: dict[str, Any], *, family: Family, cost: ImageCost, images: int) -> Row:
    """Return a question as a row of which nothing is supervised."""
    labels = sequence_of(inputs).new_full(sequence_of(inputs).shape, IGNORE)
    apart = None if family.mixes_text else images
    return Row(id="a question", inputs=inputs, labels=labels, cost=cost, apart=apart)


def passes(rows: Sequence[Row], *, batches: Batches, size: int, more: int) -> list[list[int]]:
    """Return the places of the rows that are asked together, at most `size`, shortest rows first.

    `more` is the most tokens that each answer may have.
    """
    limit = 1 if batches == "alone" else size
    groups: dict[Hashable, list[int]] = {}
    for place in sorted(range(len(rows)), key=lambda place: rows[place].length):
        groups.setdefault(_kin(rows[place], whole=batches != "padded"), []).append(place)
    found: list[list[int]] = []
    for group in groups.values():
        current: list[int] = []
        for place in group:
            tokens = (len(current) + 1) * (rows[place].length + more)  # the longest so far
            if current and (len(current) == limit or tokens > TOKENS_AT_ONCE):
                found.append(current)
                current = []
            current.append(place)
        found.append(current)
    return found


def _kin(row: Row, *, whole: bool) -> Hashable:
    """What rows of one pass have in common: their inputs' names and shapes, without the first dimension of
    pictures and the length of sequences unless `whole`.
    """
    shapes = []
    for key, tensor in sorted(row.inputs.items()):
        kept = tuple(tensor.shape)[0 if whole else 2 if is_sequence(key, row) else 1 :]
        shapes.append((key, kept))
    return (row.apart, *shapes)
