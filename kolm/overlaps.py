"""What set and pack share to the bit, compared again by anyone from what the artifact publishes."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kolm.cid import CID, digest_of
from kolm.commitments import Label, PartOfSet, group_commitment, image_commitment
from kolm.dataset import SetDocument, parse_set
from kolm.pack import EvalPack
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
