"""Pictures that are nearly the same: re-encoded, resized or cropped copies, found among many.

Every pair is compared by how light and how detailed its rows and columns are, a crop of up to 10 % off each
side allowed; what fits is laid over each other and compared again as small maps. Only what still fits is
aligned and judged: a copy agrees everywhere, while two documents of one template differ somewhere, so the
worst tile decides. A 256-bit perceptual hash alone does not: it takes charts of one kind for copies. Rules
and measurements are in specs/formats/leaks.md.
"""

from collections.abc import Sequence
from typing import NamedTuple

from kolm.likeness.alignment import Kind, judged
from kolm.likeness.picture import Likeness, likeness_of
from kolm.likeness.proposals import proposed

__all__ = ["Alike", "Kind", "Likeness", "alike", "likeness_of"]


class Alike(NamedTuple):
    """Two pictures that look like one, by their places in the two lists."""

    first: int
    second: int
    kind: Kind
    """`copy`: of the whole; `part`: one is cropped, or both are."""
    difference: float
    """Of the worst tile: 0 is equal, MAX_DIFFERENCE the bound."""


def alike(first: Sequence[Likeness], second: Sequence[Likeness]) -> list[Alike]:
    """Return the pairs, one picture of each list, that look like one picture; each pair once, in order.

    Blank pictures are like nothing. Swapping the lists swaps each pair and changes nothing else.
    """
    ones = [k for k, picture in enumerate(first) if not picture.blank]
    twos = [k for k, picture in enumerate(second) if not picture.blank]
    if not ones or not twos:
        return []
    found = []
    for i, j, start in proposed([first[k] for k in ones], [second[k] for k in twos]):
        verdict = judged(first[ones[i]], second[twos[j]], start)
        if verdict is not None:
            found.append(Alike(ones[i], twos[j], *verdict))
    return sorted(found)
