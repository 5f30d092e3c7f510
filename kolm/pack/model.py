"""What an eval pack is: rows in slices, the rules they keep, and the digest that names them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Literal

from PIL import Image
from pydantic import Field, ValidationError

from kolm.canonical import canonical_json, canonical_lines
from kolm.cid import CID, digest_of, sha256_hex
from kolm.errors import DataError
from kolm.gallery import Gallery
from kolm.rows import ImagePart, TextPart, Turn, check_name, check_text, refused
from kolm.schema import Closed
from kolm.validation import mistakes_in
from kolm.yamldoc import read_yaml

HINT = "specs/formats/pack.md shows a pack and its rules"

MAX_SLICES = 100
"""Most slices of a pack: every number is counted over each, in each replicate."""


class Slice(Closed):
    """A part of the pack that is scored by one metric."""

    metric: Annotated[str, Field(pattern=r"\A[a-z0-9_.-]+@[0-9]+\z")]


class Head(Closed):
    """What `pack.yaml` holds (specs/formats/pack.md 2)."""

    kolm_pack: Annotated[Literal[1], Field(alias="kolm-pack")]
    name: Annotated[str, Field(min_length=1, max_length=128)]
    version: str | int
    rows: Annotated[str, Field(min_length=1)] = "pack.jsonl"
    cluster: Literal["image", "group"] = "image"
    withhold: Literal["images"] | None = None
    slices: Annotated[dict[str, Slice], Field(min_length=1, max_length=MAX_SLICES)]


@dataclass(frozen=True)
class PackRow:
    """One question: its pictures, its text and the answers that count as right."""

    id: str
    images: tuple[CID, ...]
    prompt: str
    gold: tuple[str, ...]
    slice: str
    group: str | None = None
    """What the row was made from (a table, a document): no group is both trained on and evaluated on."""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The conversation that a model is given: the pictures, then the question."""
        return (Turn("user", (*(ImagePart(cid) for cid in self.images), TextPart(self.prompt))),)


@dataclass(frozen=True)
class EvalPack:
    """A pack that was read and found complete; its row order is the order of every measurement."""

    name: str
    version: str
    slices: Mapping[str, Slice]
    cluster: str
    """What is resampled together: rows that show the same picture (`image`), or one group too."""

    rows: tuple[PackRow, ...]
    yaml_bytes: bytes
    gallery: Gallery
    withhold: str | None = None
    """`images`: an artifact holds the digests of the pictures, and not the pictures."""

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 that names the pack: yaml, rows and, through their names, pictures."""
        digests = {"yaml": sha256_hex(self.yaml_bytes), "rows": sha256_hex(rows_member(self))}
        return sha256_hex(canonical_json(digests))

    @property
    def images(self) -> list[CID]:
        """Every picture once, in the order in which rows show them."""
        return list(dict.fromkeys(cid for row in self.rows for cid in row.images))

    @property
    def missing(self) -> list[CID]:
        """Pictures that are not here: the artifact that the pack was read from withholds them."""
        return [cid for cid in self.images if cid not in self.gallery]

    def image_bytes(self, cid: CID) -> bytes:
        """Return a picture's original bytes. Raises DataError."""
        return self.gallery.data(cid)

    def image(self, cid: CID) -> Image.Image:
        """Return a picture's upright RGB pixels. Raises DataError."""
        return self.gallery.image(cid)


def pack_of(
    *,
    name: str,
    rows: Sequence[PackRow],
    gallery: Gallery,
    metrics: Mapping[str, str] = MappingProxyType({"all": "exact@1"}),
    cluster: Literal["image", "group"] = "image",
) -> EvalPack:
    """Build a pack from rows at hand; `metrics` names the metric of each slice. Raises DataError."""
    yaml = yaml_of(name=name, metrics=metrics, cluster=cluster)
    head = head_of(yaml, name="pack.yaml")
    return assembled(head, yaml, [checked(row, head) for row in rows], gallery)


def yaml_of(*, name: str, metrics: Mapping[str, str], cluster: Literal["image", "group"] = "image") -> bytes:
    """Write the `pack.yaml` of a pack; `metrics` names the metric of each slice."""
    slices = "".join(f"  {json.dumps(slice_)}: {{metric: {metric}}}\n" for slice_, metric in metrics.items())
    return (
        f"kolm-pack: 1\nname: {json.dumps(name)}\nversion: 1\nrows: pack.jsonl\ncluster: {cluster}\n"
        f"slices:\n{slices}"
    ).encode()


def head_of(data: bytes, *, name: str) -> Head:
    """Read a `pack.yaml`; `name` is its path in messages. Raises DataError with line and column."""
    document = read_yaml(data, name=name, refusal=DataError)
    try:
        head = Head.model_validate(document.value)
    except ValidationError as err:
        raise document.error(mistakes_in(err, Head), hint=HINT) from err
    for slice_ in head.slices:
        if not 1 <= len(slice_) <= 128 or not slice_.isprintable():
            raise DataError(
                f"{name}: the slice {slice_[:40]!r} is not named by 1 to 128 printable characters", hint=HINT
            )
    return head


def assembled(head: Head, yaml: bytes, rows: Sequence[PackRow], gallery: Gallery) -> EvalPack:
    """Join the parts of a pack. Raises DataError when there are no rows."""
    if not rows:
        raise DataError(f"the eval pack {head.name} is empty", hint="it needs rows to measure anything")
    slices = MappingProxyType(head.slices)
    return EvalPack(
        head.name, str(head.version), slices, head.cluster, tuple(rows), yaml, gallery, head.withhold
    )


def checked(row: PackRow, head: Head) -> PackRow:
    """Return the row if it keeps every rule of specs/formats/pack.md 3. Raises DataError."""
    check_name(row.id, what="id", limit=128)
    if row.group is not None:
        check_name(row.group, what="group", limit=256)
    if not isinstance(row.slice, str) or row.slice not in head.slices:
        raise refused(f"slice {str(row.slice)[:80]!r} is not one of {', '.join(head.slices)}")
    if not check_text(row.prompt, what="prompt").strip():
        raise refused("empty prompt")
    if not row.gold or not all(isinstance(answer, str) and answer.strip() for answer in row.gold):
        raise refused("gold is neither a text nor a list of texts that each say something")
    for answer in row.gold:
        check_text(answer, what="gold")
    return row


def image_name(pack: EvalPack, cid: CID) -> str:
    """Name a picture by its digest and encoding: `images/<sha256>.<suffix>`."""
    return f"images/{digest_of(cid).hex()}.{pack.gallery.suffix(cid)}"


def rows_member(pack: EvalPack) -> bytes:
    """Return the rows as canonical JSON Lines (specs/formats/pack.md 4)."""
    names = {cid: image_name(pack, cid) for cid in pack.images}
    return canonical_lines(
        {
            "id": row.id,
            "image": [names[cid] for cid in row.images],
            "prompt": row.prompt,
            "gold": list(row.gold),
            "slice": row.slice,
            **({} if row.group is None else {"group": row.group}),
        }
        for row in pack.rows
    )
