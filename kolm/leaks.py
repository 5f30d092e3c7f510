"""Whether eval rows were trained on.

Pictures are compared again by anyone, from what the artifact publishes; questions without pictures only
by whoever has the training rows.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kolm.cid import CID, digest_of
from kolm.commitments import Label, PartOfSet, image_commitment
from kolm.dataset import Example, SetDocument, parse_set
from kolm.pack import EvalPack
from kolm.schema import read_model

_Known = Mapping[str, list[tuple[PartOfSet, str]]]


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
    """Return every pair of a set row and an eval row with a common picture, in the order of the pack.

    `set_document` is train/set.json, as bytes or parsed. Raises ArtifactError (E_SCHEMA, E_JSON_CANONICAL)
    when it is none, DataError for a picture that cannot be read.
    """
    document = parse_set(set_document) if isinstance(set_document, bytes) else _model(set_document)
    salt = bytes.fromhex(document.salt)
    known: dict[Label, _Known] = {"bytes": _index(document, "bytes"), "pixels": _index(document, "pixels")}
    found: dict[tuple[str, str, str], Overlap] = {}
    for row in pack.rows:
        for cid in row.images:
            for kind, part, train_id in _matches(cid, pack=pack, salt=salt, known=known):
                found.setdefault((row.id, part, train_id), Overlap(train_id, row.id, kind, part))
    return list(found.values())


def text_overlaps(examples: Iterable[Example], pack: EvalPack) -> list[str]:
    """Return the ids of eval rows without pictures whose question is trained on, in the pack's order.

    Questions are equal after NFC, case folding and white space made single spaces. Only user turns of
    rows that show no picture are compared: the same question about a picture is another question.
    """
    asked = {
        _folded(turn.text)
        for example in examples
        if not example.images
        for turn in example.messages
        if turn.role == "user"
    }
    return [row.id for row in pack.rows if not row.images and _folded(row.prompt) in asked]


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _model(value: Mapping[str, Any]) -> SetDocument:
    return read_model(SetDocument, dict(value), what="train/set.json")


def _index(document: SetDocument, label: Label) -> _Known:
    """Map each image commitment to the rows that hold it."""
    index: dict[str, list[tuple[PartOfSet, str]]] = defaultdict(list)
    parts: tuple[PartOfSet, ...] = ("rows", "validation")
    for part in parts:
        for row in getattr(document, part):
            for image in row.images:
                index[getattr(image, label)].append((part, row.id))
    return index


def _matches(
    cid: CID, *, pack: EvalPack, salt: bytes, known: Mapping[Label, _Known]
) -> Iterator[tuple[Label, PartOfSet, str]]:
    """Yield the set rows that show a picture; equal bytes are found before equal pixels."""
    digests: dict[Label, str] = {"bytes": digest_of(cid).hex(), "pixels": pack.gallery.pixels(cid)}
    for label, digest in digests.items():
        for part, train_id in known[label].get(image_commitment(salt, label=label, digest=digest), ()):
            yield label, part, train_id
