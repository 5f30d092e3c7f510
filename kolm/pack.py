"""Eval packs: questions about pictures with known answers, in slices that each name a metric.

A pack is a `pack.yaml`, a JSON Lines file of rows and picture files (specs/formats/pack.md). Inside an
artifact the yaml stays as it was written, rows are canonical and pictures are named by their digest.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import Field, ValidationError

from kolm.canonical import canonical_json, canonical_lines, parse_canonical_lines
from kolm.cid import CID, digest_of, sha256_hex
from kolm.errors import ArtifactError, DataError, StorageError
from kolm.files import make_folder, read_bytes, write_atomic
from kolm.gallery import Gallery
from kolm.images import media_type
from kolm.pairs import Refusal, default_id, json_records, told
from kolm.rows import ImagePart, TextPart, Turn, check_name, check_text, refused, text_field
from kolm.schema import Closed, read_model
from kolm.validation import mistakes_in
from kolm.yamldoc import read_yaml

_FIELDS = ("id", "image", "prompt", "gold", "slice")
_MEMBER = re.compile(r"images/([0-9a-f]{64})\.([a-z]+)\Z")
_HINT = "specs/formats/pack.md shows a pack and its rules"


class Slice(Closed):
    """A part of the pack that is scored by one metric."""

    metric: Annotated[str, Field(pattern=r"\A[a-z0-9_.-]+@[0-9]+\z")]


class _Head(Closed):
    kolm_pack: Annotated[Literal[1], Field(alias="kolm-pack")]
    name: Annotated[str, Field(min_length=1, max_length=128)]
    version: str | int
    rows: Annotated[str, Field(min_length=1)] = "pack.jsonl"
    cluster: Literal["image"] = "image"
    slices: Annotated[dict[str, Slice], Field(min_length=1)]


class _Row(Closed):
    """One line of the artifact's eval/pack.jsonl."""

    id: str
    image: list[str]
    prompt: str
    gold: Annotated[list[str], Field(min_length=1)]
    slice: str


@dataclass(frozen=True)
class PackRow:
    """One question: its pictures, its text and the answers that count as right."""

    id: str
    images: tuple[CID, ...]
    prompt: str
    gold: tuple[str, ...]
    slice: str

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
    """What is resampled together: rows that show the same picture."""

    rows: tuple[PackRow, ...]
    yaml_bytes: bytes
    gallery: Gallery

    @property
    def digest(self) -> str:
        """Hex SHA-256 that names the pack: yaml, rows and, through their names, pictures."""
        digests = {"yaml": sha256_hex(self.yaml_bytes), "rows": sha256_hex(_rows_member(self))}
        return sha256_hex(canonical_json(digests))

    def image_bytes(self, cid: CID) -> bytes:
        """Return a picture's original bytes. Raises DataError."""
        return self.gallery.data(cid)

    def image(self, cid: CID) -> Image.Image:
        """Return a picture's upright RGB pixels. Raises DataError."""
        return self.gallery.image(cid)


def load_pack(path: Path) -> EvalPack:
    """Read `pack.yaml` with its rows and pictures, which are relative to it.

    Raises DataError with line and column in the yaml, or with all refused rows and their reasons.
    """
    try:
        data = read_bytes(path, what="eval pack")
    except StorageError as err:
        raise DataError(err.message, hint="data.eval names the pack.yaml of an eval pack") from err
    head = _head(data, name=str(path))
    gallery = Gallery(root=path.parent)
    reader = _RowReader(head, gallery)
    for number, record in json_records(path.parent / head.rows):
        reader.take(number, record)
    if reader.refusals:
        raise DataError(f"{path.parent / head.rows}: {told(reader.refusals)}", hint=_HINT)
    return _pack(head, data, list(reader.rows.values()), gallery)


def pack_of(
    *, name: str, rows: Sequence[PackRow], gallery: Gallery, metric: str = "exact@1", slice_: str = "all"
) -> EvalPack:
    """Build a pack of one slice from rows at hand. Raises DataError when there are none."""
    yaml = (
        f'kolm-pack: 1\nname: "{name}"\nversion: 1\nrows: pack.jsonl\ncluster: image\n'
        f"slices:\n  {slice_}: {{metric: {metric}}}\n"
    ).encode()
    return _pack(_head(yaml, name="pack.yaml"), yaml, rows, gallery)


def pack_members(pack: EvalPack) -> dict[str, bytes]:
    """Return the pack as members of an artifact, by name. Raises DataError when a picture has changed."""
    cids = dict.fromkeys(cid for row in pack.rows for cid in row.images)
    images = {f"eval/{_image_name(pack, cid)}": pack.image_bytes(cid) for cid in cids}
    return {"eval/pack.yaml": pack.yaml_bytes, "eval/pack.jsonl": _rows_member(pack), **images}


def pack_from_members(read: Callable[[str], bytes]) -> EvalPack:
    """Read a pack from an artifact's members, trusting none of them.

    Raises DataError for a pack that breaks its rules, ArtifactError for rows that are not canonical, and
    whatever `read` raises for a missing member.
    """
    yaml = read("eval/pack.yaml")
    head = _head(yaml, name="eval/pack.yaml")
    gallery = Gallery(root=Path("eval"))
    rows: dict[str, PackRow] = {}
    what = "eval/pack.jsonl"
    for number, value in enumerate(parse_canonical_lines(read(what), what=what), start=1):
        row = read_model(_Row, value, what=f"{what} line {number}")
        if row.id in rows:
            raise refused(f"{what} line {number}: id {row.id!r} stands there twice")
        images = tuple(_member_image(name, read, gallery) for name in row.image)
        rows[row.id] = _checked(PackRow(row.id, images, row.prompt, tuple(row.gold), row.slice), head)
    return _pack(head, yaml, list(rows.values()), gallery)


def write_pack(pack: EvalPack, directory: Path) -> Path:
    """Write a pack as files under `directory` and return its pack.yaml. Raises StorageError."""
    make_folder(directory / "images")
    for name, data in pack_members(pack).items():
        write_atomic(directory / name.removeprefix("eval/"), data)
    return directory / "pack.yaml"


class _RowReader:
    """Collects the rows of a pack's file, and the reasons why some are none."""

    def __init__(self, head: _Head, gallery: Gallery) -> None:
        self._head, self._gallery = head, gallery
        self.rows: dict[str, PackRow] = {}
        self.refusals: list[Refusal] = []

    def take(self, number: int, record: Mapping[str, Any] | DataError) -> None:
        """Read one numbered record."""
        try:
            if isinstance(record, DataError):
                raise record
            row = self._row(record, number)
            if row.id in self.rows:
                raise refused(f"its id {row.id!r} is that of another row")
            self.rows[row.id] = row
        except DataError as err:
            self.refusals.append(Refusal(number, err.message))

    def _row(self, record: Mapping[str, Any], number: int) -> PackRow:
        unknown = [name for name in record if name not in _FIELDS]
        if unknown:
            raise refused(f"unknown field {unknown[0][:80]!r}, known are {', '.join(_FIELDS)}")
        images = record.get("image", [])
        shown = tuple(self._gallery.add(item) for item in (images if isinstance(images, list) else [images]))
        gold = record.get("gold")
        answers = tuple(gold) if isinstance(gold, list) else (gold,)
        only = next(iter(self._head.slices)) if len(self._head.slices) == 1 else None
        row_id, slice_ = record.get("id", default_id(number)), record.get("slice", only)
        return _checked(PackRow(row_id, shown, text_field(record, "prompt"), answers, slice_), self._head)


def _head(data: bytes, *, name: str) -> _Head:
    document = read_yaml(data, name=name, refusal=DataError)
    try:
        return _Head.model_validate(document.value)
    except ValidationError as err:
        raise document.error(mistakes_in(err, _Head), hint=_HINT) from err


def _pack(head: _Head, yaml: bytes, rows: Sequence[PackRow], gallery: Gallery) -> EvalPack:
    if not rows:
        raise DataError(f"the eval pack {head.name} is empty", hint="it needs rows to measure anything")
    slices = MappingProxyType(head.slices)
    return EvalPack(head.name, str(head.version), slices, head.cluster, tuple(rows), yaml, gallery)


def _checked(row: PackRow, head: _Head) -> PackRow:
    """Return the row if it keeps every rule of specs/formats/pack.md 3. Raises DataError."""
    check_name(row.id, what="id", limit=128)
    if not isinstance(row.slice, str) or row.slice not in head.slices:
        raise refused(f"slice {str(row.slice)[:80]!r} is not one of {', '.join(head.slices)}")
    if not check_text(row.prompt, what="prompt").strip():
        raise refused("empty prompt")
    if not row.gold or not all(isinstance(answer, str) and answer.strip() for answer in row.gold):
        raise refused("gold is neither a text nor a list of texts that each say something")
    for answer in row.gold:
        check_text(answer, what="gold")
    return row


def _member_image(name: str, read: Callable[[str], bytes], gallery: Gallery) -> CID:
    match = _MEMBER.match(name)
    if match is None:
        raise refused(f"{name[:80]!r} is not images/<sha256>.<suffix>")
    data = read(f"eval/{name}")
    if sha256_hex(data) != match[1] or media_type(data, what=name)[1] != match[2]:
        raise ArtifactError(f"eval/{name} does not hold the picture it is named for", check="E_MEMBER_DIGEST")
    return gallery.add(data)


def _image_name(pack: EvalPack, cid: CID) -> str:
    return f"images/{digest_of(cid).hex()}.{pack.gallery.suffix(cid)}"


def _rows_member(pack: EvalPack) -> bytes:
    names = {cid: _image_name(pack, cid) for row in pack.rows for cid in row.images}
    return canonical_lines(
        {
            "id": row.id,
            "image": [names[cid] for cid in row.images],
            "prompt": row.prompt,
            "gold": list(row.gold),
            "slice": row.slice,
        }
        for row in pack.rows
    )
