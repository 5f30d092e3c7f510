"""Packs as people write them: a `pack.yaml`, a JSON Lines file of rows, and picture files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kolm.errors import DataError, StorageError
from kolm.files import make_folder, read_bytes, write_atomic
from kolm.gallery import Gallery
from kolm.pack.model import (
    HINT,
    EvalPack,
    Head,
    PackRow,
    assembled,
    checked,
    head_of,
    image_name,
    rows_member,
)
from kolm.pairs import Refusal, default_id, json_records, told
from kolm.rows import refused, text_field

_FIELDS = ("id", "image", "prompt", "gold", "slice", "group")


def load_pack(path: Path) -> EvalPack:
    """Read `pack.yaml` with its rows and pictures, which are relative to it.

    Raises DataError with line and column in the yaml, or with all refused rows and their reasons.
    """
    try:
        data = read_bytes(path, what="eval pack")
    except StorageError as err:
        raise DataError(err.message, hint="name the pack.yaml of an eval pack") from err
    head = head_of(data, name=str(path))
    gallery = Gallery(root=path.parent)
    reader = _RowReader(head, gallery)
    for number, record in json_records(path.parent / head.rows):
        reader.take(number, record)
    if reader.refusals:
        raise DataError(f"{path.parent / head.rows}: {told(reader.refusals)}", hint=HINT)
    return assembled(head, data, list(reader.rows.values()), gallery)


def write_pack(pack: EvalPack, directory: Path) -> Path:
    """Write a pack with its pictures under `directory` and return its pack.yaml.

    Raises DataError when a picture is withheld or has changed, StorageError.
    """
    make_folder(directory / "images")
    for cid in pack.images:
        write_atomic(directory / image_name(pack, cid), pack.image_bytes(cid))
    write_atomic(directory / "pack.jsonl", rows_member(pack))
    write_atomic(directory / "pack.yaml", pack.yaml_bytes)
    return directory / "pack.yaml"


class _RowReader:
    """Collects the rows of a pack's file, and the reasons why some are none."""

    def __init__(self, head: Head, gallery: Gallery) -> None:
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
        prompt, group = text_field(record, "prompt"), record.get("group")
        return checked(PackRow(row_id, shown, prompt, answers, slice_, group), self._head)
