"""Whether eval rows were trained on, as whoever has the training rows can tell.

Exact pictures and declared groups are `kolm.overlaps`; questions without pictures, and pictures that are
nearly the same, are found here.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kolm.cid import CID, digest_of
from kolm.dataset import Dataset, Example
from kolm.likeness import Kind, Likeness, alike, likeness_of
from kolm.overlaps import Overlap, folded
from kolm.pack import EvalPack
from kolm.review import Pair, Review, Verdict


@dataclass(frozen=True)
class TextOverlap:
    """An eval row without pictures whose question is trained on."""

    train_id: str
    eval_id: str
    kind: Literal["question", "answer"]
    """`answer`: one of the right answers is trained on too; `question`: another one is."""


def text_overlaps(examples: Iterable[Example], pack: EvalPack) -> list[TextOverlap]:
    """Return the eval rows without pictures whose question is trained on, in the pack's order, each once.

    Texts are compared as `folded`. Only user turns of rows that show no picture are compared: the same
    question about a picture is another question.
    """
    asked: dict[str, dict[str, str]] = defaultdict(dict)  # of each answer to a question, the first row
    for example in examples:
        if not example.images:
            for turn, answer in zip(example.messages, (*example.messages[1:], None), strict=True):
                if turn.role == "user":
                    asked[folded(turn.text)].setdefault(folded(answer.text) if answer else "", example.id)
    found = []
    for row in pack.rows:
        known = asked.get(folded(row.prompt), {}) if not row.images else {}
        right = next((known[gold] for gold in map(folded, row.gold) if gold in known), None)
        if known:
            train_id = right or next(iter(known.values()))
            found.append(TextOverlap(train_id, row.id, "answer" if right else "question"))
    return found


@dataclass(frozen=True)
class NearDuplicate:
    """A picture that is trained on and one that is evaluated on, which look like one and are not equal."""

    train: CID
    eval: CID
    kind: Kind
    difference: float
    """Of the part that differs most: 0 is equal (specs/formats/leaks.md 3)."""

    train_ids: tuple[str, ...]
    """Training and validation rows that show it."""
    eval_ids: tuple[str, ...]

    @property
    def pair(self) -> Pair:
        """The two pictures as a reviewed list names them."""
        return Pair(digest_of(self.train).hex(), digest_of(self.eval).hex())


_BLOCK = 1024
"""Training pictures that are measured and compared at once; each is measured once."""


def near_duplicates(trained_on: Sequence[Dataset], pack: EvalPack) -> list[NearDuplicate]:
    """Return every pair of a training or validation picture and an eval picture that look like one.

    Equal pictures are `exact_overlaps`, not near duplicates. Raises DataError for a picture that cannot be
    read.
    """
    asked = {cid: likeness_of(pack.image(cid)) for cid in pack.images}
    if not asked:
        return []
    shown = {cid: dataset for dataset in trained_on for row in dataset.examples for cid in row.images}
    train_ids = _showing(row for dataset in trained_on for row in dataset.examples)
    eval_ids = _showing(pack.rows)
    cids, found = list(shown), []
    for at in range(0, len(cids), _BLOCK):
        block = {cid: likeness_of(shown[cid].image(cid)) for cid in cids[at : at + _BLOCK]}
        for one, two, kind, difference in _alike(block, asked):
            if shown[one].gallery.pixels(one) != pack.gallery.pixels(two):
                found.append(NearDuplicate(one, two, kind, difference, train_ids[one], eval_ids[two]))
    return found


@dataclass(frozen=True)
class Leaks:
    """Everything that is both trained on and evaluated on, and what people said about near duplicates."""

    overlaps: tuple[Overlap, ...]
    groups: tuple[str, ...]
    """Eval rows whose declared group is trained on."""
    texts: tuple[TextOverlap, ...]
    near: tuple[NearDuplicate, ...]
    review: Review

    @property
    def exact(self) -> int:
        """What the gate's `no_leak` counts."""
        return len(self.overlaps) + len(self.groups) + len(self.texts)

    @property
    def waiting(self) -> tuple[NearDuplicate, ...]:
        """Near duplicates that nobody called distinct: the gate fails while there is one."""
        return tuple(found for found in self.near if self.verdict(found) != "distinct")

    def verdict(self, found: NearDuplicate) -> Verdict:
        """Return what was said about two pictures, `unreviewed` where nothing was."""
        return self.review.verdicts.get(found.pair, "unreviewed")

    @property
    def near_duplicates(self) -> dict[str, int]:
        """The receipt's `data.near_duplicates`."""
        waiting = len(self.waiting)
        return {"found": len(self.near), "reviewed": len(self.near) - waiting, "waiting": waiting}

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind, and how many reviewed pairs were not found."""
        return {
            "pictures": len(self.overlaps),
            "groups": len(self.groups),
            "questions": len(self.texts),
            **self.near_duplicates,
            "unused": self.review.unused(found.pair for found in self.near),
        }


def _showing(rows: Iterable[Any]) -> dict[CID, tuple[str, ...]]:
    """Map each picture to the ids of the rows that show it."""
    ids: dict[CID, dict[str, None]] = defaultdict(dict)
    for row in rows:
        for cid in row.images:
            ids[cid][row.id] = None
    return {cid: tuple(found) for cid, found in ids.items()}


def _alike(
    one: Mapping[CID, Likeness], two: Mapping[CID, Likeness]
) -> Iterator[tuple[CID, CID, Kind, float]]:
    first, second = list(one), list(two)
    for i, j, kind, difference in alike(list(one.values()), list(two.values())):
        yield first[i], second[j], kind, difference
