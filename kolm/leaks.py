"""Whether eval rows were trained on.

Exact pictures and declared groups are compared again by anyone, from what the artifact publishes; questions
without pictures, and pictures that are nearly the same, only by whoever has the training rows.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kolm.cid import CID, digest_of
from kolm.commitments import Label, PartOfSet, group_commitment, image_commitment
from kolm.dataset import Dataset, Example, SetDocument, parse_set
from kolm.likeness import Kind, Likeness, alike, likeness_of
from kolm.pack import EvalPack
from kolm.review import Pair, Review, Verdict
from kolm.schema import read_model

_Known = Mapping[str, tuple[PartOfSet, str]]
_Match = tuple[Label, PartOfSet, str]


@dataclass(frozen=True)
class Overlap:
    """A training (or validation) row and an eval row that show the same picture."""

    train_id: str
    eval_id: str
    kind: Label
    """`bytes`: the same file; `pixels`: the same picture in another encoding."""

    part: PartOfSet = "rows"
    """Which list of the set document holds the row."""


def exact_overlaps(set_document: bytes | Mapping[str, Any], pack: EvalPack) -> list[Overlap]:
    """Return the eval rows that show a picture of a set row, in the pack's order, each once.

    Each is named with the first set row that shows its picture: of the pairs a stranger's set could have
    as many as its rows times the pack's.
    `set_document` is train/set.json, as bytes or parsed. Raises ArtifactError (E_SCHEMA, E_JSON_CANONICAL)
    when it is none, DataError for a picture that cannot be read.
    """
    document = parse_set(set_document) if isinstance(set_document, bytes) else _model(set_document)
    salt = bytes.fromhex(document.salt)
    known: dict[Label, _Known] = {"bytes": _index(document, "bytes"), "pixels": _index(document, "pixels")}
    matches = {cid: _match(cid, pack=pack, salt=salt, known=known) for cid in pack.images}
    found = []
    for row in pack.rows:
        match = next((match for cid in row.images if (match := matches[cid])), None)
        if match:
            kind, part, train_id = match
            found.append(Overlap(train_id, row.id, kind, part))
    return found


def shared_groups(set_document: bytes | Mapping[str, Any], pack: EvalPack) -> list[str]:
    """Return the ids of eval rows whose declared group is that of a set row, in the order of the pack.

    `set_document` is train/set.json, as bytes or parsed; its groups are commitments under its published salt
    (specs/formats/set.md 3), so anyone finds what is shared. A row that declares no group shares none.
    Raises ArtifactError (E_SCHEMA, E_JSON_CANONICAL).
    """
    document = parse_set(set_document) if isinstance(set_document, bytes) else _model(set_document)
    salt = bytes.fromhex(document.salt)
    known = {row.group for row in (*document.rows, *document.validation)}
    return [
        row.id
        for row in pack.rows
        if row.group is not None and group_commitment(salt, group=row.group) in known
    ]


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


def folded(text: str) -> str:
    """Return a text as it is compared: NFKC, case folded, white space single, no punctuation at the ends.

    A text of nothing but punctuation keeps it.
    """
    plain = " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())
    begin, end = 0, len(plain)
    while begin < end and _is_edge(plain[begin]):
        begin += 1
    while end > begin and _is_edge(plain[end - 1]):
        end -= 1
    return plain[begin:end] or plain


def _is_edge(character: str) -> bool:
    return character == " " or unicodedata.category(character).startswith("P")


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


def _model(value: Mapping[str, Any]) -> SetDocument:
    return read_model(SetDocument, dict(value), what="train/set.json")


def _index(document: SetDocument, label: Label) -> _Known:
    """Map each image commitment to the first row that holds it."""
    index: dict[str, tuple[PartOfSet, str]] = {}
    parts: tuple[PartOfSet, ...] = ("rows", "validation")
    for part in parts:
        for row in getattr(document, part):
            for image in row.images:
                index.setdefault(getattr(image, label), (part, row.id))
    return index


def _match(cid: CID, *, pack: EvalPack, salt: bytes, known: Mapping[Label, _Known]) -> _Match | None:
    """Return the first set row that shows a picture; equal bytes are found before equal pixels."""
    digests: dict[Label, str] = {"bytes": digest_of(cid).hex(), "pixels": pack.gallery.pixels(cid)}
    for label, digest in digests.items():
        row = known[label].get(image_commitment(salt, label=label, digest=digest))
        if row:
            return label, *row
    return None
