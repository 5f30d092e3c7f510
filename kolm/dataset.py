"""Training data as the trainer takes it: canonical rows, their pictures, and the salts of their commitments.

A reference in a spec becomes a `Dataset` here, and a `Dataset` becomes the published set document
(specs/formats/set.md), which shows no row and lets everyone test for overlap.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import Field, model_validator

from kolm.canonical import canonical_json, parse_canonical
from kolm.captures import SCHEME, Captures, Pin, read_frozen
from kolm.cid import CID, digest_of
from kolm.commitments import PartOfSet, Salts, group_commitment, image_commitment, share, text_commitment
from kolm.errors import DataError
from kolm.gallery import Gallery
from kolm.pairs import Pairs, Refusal, pairs_of, read_pairs
from kolm.rows import IMAGE_TOKENS, Example, ImagePart, TextPart, Turn
from kolm.schema import Closed, Hex, read_model

__all__ = [
    "IMAGE_TOKENS",
    "Dataset",
    "Example",
    "ImagePart",
    "Pairs",
    "Refusal",
    "Salts",
    "SetDocument",
    "TextPart",
    "Turn",
    "dataset_of",
    "image_commitment",
    "load_dataset",
    "parse_set",
    "read_pairs",
    "set_document",
    "split_by_group",
    "split_dataset",
]

KIND = "kolm-set/1"


@dataclass(frozen=True)
class Dataset:
    """Rows in order, with everything that training and their commitments need."""

    examples: tuple[Example, ...]
    gallery: Gallery
    salts: Salts
    source: str
    """Where the rows came from, for messages: a path or a pin."""

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.examples)

    def image_bytes(self, cid: CID) -> bytes:
        """Return a picture's original bytes. Raises DataError."""
        return self.gallery.data(cid)

    def image(self, cid: CID) -> Image.Image:
        """Return a picture's upright RGB pixels. Raises DataError."""
        return self.gallery.image(cid)

    def keeping(self, examples: Sequence[Example]) -> "Dataset":
        """Return the same data set with these of its rows."""
        return Dataset(tuple(examples), self.gallery, self.salts, self.source)


def load_dataset(ref: str, *, root: Path) -> Dataset:
    """Load `capture://NS@CID`, or a file of pairs relative to `root`.

    Salts of a file lie beside it as `<stem>.salts.json` and are made once. One refused row refuses the set.
    Raises DataError naming rows and reasons.
    """
    if ref.startswith(SCHEME):
        return _pinned(Pin.parse(ref), Captures.at_home())
    path = root / ref
    pairs = read_pairs(path)
    pairs.require_all(source=ref)
    salts = Salts.load_or_create(path.with_name(f"{path.stem}.salts.json"))
    return Dataset(pairs.examples, pairs.gallery, salts, ref)


def dataset_of(
    rows: Iterable[Mapping[str, Any]], *, root: Path | None = None, salts: Salts | None = None
) -> Dataset:
    """Build a data set from rows in memory: dicts with `image`, `prompt`, `response`, or `messages`.

    `image` is a Pillow image, a path relative to `root` (else the working folder), a base64 string or data
    URL, or a list of these. Without `salts` new ones are drawn. Raises DataError naming rows and reasons.
    """
    pairs = pairs_of(enumerate(rows, start=1), gallery=Gallery(root=root or Path()))
    pairs.require_all(source="the rows given")
    return Dataset(pairs.examples, pairs.gallery, salts or Salts.fresh(), "rows in memory")


def split_by_group(
    examples: Sequence[Example], *, fraction: float, salt: bytes, label: str = "validation"
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Split rows into kept and held out, whole groups at a time, by a salted hash of the group.

    A row's side depends on its group, the salt, the label and the fraction only: adding rows moves none.
    """
    held = {example.id for example in examples if share(salt, group=example.group, label=label) < fraction}
    return (
        tuple(example for example in examples if example.id not in held),
        tuple(example for example in examples if example.id in held),
    )


def split_dataset(dataset: Dataset, *, fraction: float) -> tuple[Dataset, Dataset]:
    """Split a data set into training and validation by group. Raises DataError when a side is empty."""
    kept, held = split_by_group(dataset.examples, fraction=fraction, salt=dataset.salts.salt)
    if not kept or not held:
        raise DataError(
            f"{dataset.source}: holding out {fraction} leaves {len(kept)} rows and {len(held)} rows",
            hint="add groups, choose another fraction, or name a validation file",
        )
    return dataset.keeping(kept), dataset.keeping(held)


class ImageCommitment(Closed):
    """Keyed digests of one picture: of its bytes and of its pixels."""

    bytes: Hex
    pixels: Hex


class RowCommitment(Closed):
    """What is published of one row."""

    id: Annotated[str, Field(min_length=1, max_length=128)]
    group: Hex
    images: list[ImageCommitment]
    text: Hex


class SetDocument(Closed):
    """The artifact's member train/set.json (specs/formats/set.md)."""

    kind: Literal["kolm-set/1"]
    salt: Hex
    rows: Annotated[list[RowCommitment], Field(min_length=1)]
    validation: list[RowCommitment]

    @model_validator(mode="after")
    def _once(self) -> "SetDocument":
        if any(len({row.id for row in rows}) < len(rows) for rows in (self.rows, self.validation)):
            raise ValueError("a row's id stands there twice")
        return self


def set_document(dataset: Dataset, *, validation: Dataset | None = None) -> bytes:
    """Return the set document, canonical JSON; the validation rows are committed to under the same salts.

    Raises DataError when a picture cannot be read.
    """
    salts = dataset.salts
    document = {
        "kind": KIND,
        "salt": salts.salt.hex(),
        "rows": _commitments(dataset, salts, part="rows"),
        "validation": _commitments(validation, salts, part="validation") if validation else [],
    }
    return canonical_json(document)


def parse_set(data: bytes) -> SetDocument:
    """Read a set document. Raises ArtifactError (E_JSON_CANONICAL, E_SCHEMA)."""
    return read_model(SetDocument, parse_canonical(data, what="train/set.json"), what="train/set.json")


def _commitments(dataset: Dataset, salts: Salts, *, part: PartOfSet) -> list[dict[str, Any]]:
    return [
        {
            "id": example.id,
            "group": group_commitment(salts.salt, group=example.group),
            "images": [_image_commitments(cid, dataset.gallery, salts.salt) for cid in example.images],
            "text": text_commitment(salts.key, part=part, row_id=example.id, messages=example.messages),
        }
        for example in dataset.examples
    ]


def _image_commitments(cid: CID, gallery: Gallery, salt: bytes) -> dict[str, str]:
    return {
        "bytes": image_commitment(salt, label="bytes", digest=digest_of(cid).hex()),
        "pixels": image_commitment(salt, label="pixels", digest=gallery.pixels(cid)),
    }


def _pinned(pin: Pin, captures: Captures) -> Dataset:
    examples = read_frozen(captures, pin)
    if not examples:
        raise DataError(
            f"{pin} holds no rows", hint="kolm capture add adds some, kolm capture split freezes them"
        )
    gallery = Gallery(root=captures.root)
    for cid in dict.fromkeys(cid for example in examples for cid in example.images):
        gallery.add_captured(cid, captures=captures)
    return Dataset(examples, gallery, Salts.load_or_create(captures.salts(pin.namespace)), str(pin))
