"""Pairs as people write them: JSON Lines and CSV files of pictures, prompts and responses.

Every row becomes an `Example` or a refusal with its row number and reason, never anything in between
(specs/formats/row.md 5). Rows are numbered as an editor shows them: the line for JSON Lines, for CSV the
record, counted from 1 after the header.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kolm.canonical import unique_names
from kolm.captures import Captures
from kolm.errors import DataError, StorageError
from kolm.files import open_for_reading
from kolm.gallery import Gallery
from kolm.images import LIMITS, ImageLimits
from kolm.rows import Example, ImagePart, Part, TextPart, Turn, check_text, picture_cid, refused, text_field

ALIASES = {"image_path": "image", "images": "image", "question": "prompt", "answer": "response"}
FIELDS = ("image", "prompt", "response", "messages", "id", "group", "tags")
Numbered = tuple[int, Mapping[str, Any] | DataError]
"""A record with its row number, or the reason why the row is none."""

MAX_LINE = 128 * 1024 * 1024
"""Length of one JSON line, in bytes."""

_FOREIGN_PARTS = {
    "audio": "audio", "audio_url": "audio", "input_audio": "audio",
    "video": "video", "video_url": "video", "input_video": "video",
    "file": "file", "input_file": "file",
}  # fmt: skip


_FOREIGN_FIELDS = {"audio": "audio", "audios": "audio", "video": "video", "videos": "video"}


@dataclass(frozen=True)
class Refusal:
    """A row that was not taken, and why."""

    row: int
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.reason}"


@dataclass(frozen=True)
class Pairs:
    """What a file of pairs holds: rows that can be used, their pictures, and the rows that were refused."""

    examples: tuple[Example, ...]
    numbers: tuple[int, ...]
    """Row number of each example in its file."""

    gallery: Gallery
    refusals: tuple[Refusal, ...]

    def require_all(self, *, source: str) -> None:
        """Raise DataError naming the refused rows, or that there is no row at all."""
        if self.refusals:
            raise DataError(f"{source}: {told(self.refusals)}", hint="fix or remove these rows")
        if not self.examples:
            raise DataError(f"{source} holds no rows", hint="add at least one image, prompt and response")


def told(refusals: Iterable[Refusal], *, at_most: int = 10) -> str:
    """Say which rows were refused and why, the first ones in full."""
    refusals = list(refusals)
    shown = "; ".join(str(refusal) for refusal in refusals[:at_most])
    rest = f"; and {len(refusals) - at_most} more" if len(refusals) > at_most else ""
    return f"{len(refusals)} {'row' if len(refusals) == 1 else 'rows'} refused: {shown}{rest}"


def read_pairs(path: Path, *, limits: ImageLimits = LIMITS) -> Pairs:
    """Read a .jsonl or .csv file of pairs; pictures are relative to it. Raises DataError."""
    records = read_records(path)
    return pairs_of(records, gallery=Gallery(root=path.parent, limits=limits))


def read_records(path: Path, *, any_columns: bool = False) -> Iterator[Numbered]:
    """Yield the records of a .jsonl or .csv file with their row numbers, or why a row is none.

    With `any_columns` the header of a CSV file may name columns that no pair has. Raises DataError.
    """
    match path.suffix.lower():
        case ".jsonl" | ".ndjson":
            return json_records(path)
        case ".csv":
            return _csv_records(path, any_columns=any_columns)
    raise DataError(f"{path} is neither .jsonl nor .csv", hint="specs/formats/row.md 5 shows both")


def pairs_of(records: Iterable[Numbered], *, gallery: Gallery) -> Pairs:
    """Turn numbered records into rows; a record may itself be the reason why there is none."""
    examples: dict[str, Example] = {}
    numbers: dict[str, int] = {}
    refusals: list[Refusal] = []
    for number, record in records:
        try:
            if isinstance(record, DataError):
                raise record
            example = example_of(record, number=number, gallery=gallery)
            if example.id in examples:
                raise refused(f"its id {example.id!r} is that of row {numbers[example.id]}")
        except DataError as err:
            refusals.append(Refusal(number, err.message))
        else:
            examples[example.id], numbers[example.id] = example, number
    return Pairs(tuple(examples.values()), tuple(numbers.values()), gallery, tuple(refusals))


def example_of(record: Mapping[str, Any], *, number: int, gallery: Gallery) -> Example:
    """Turn one record, in shorthand or with messages, into a canonical row. Raises DataError.

    Without an id the row is called by its number, without a group by its first picture.
    """
    fields = _fields(record)
    messages = _conversation(fields, gallery) if "messages" in fields else _pair(fields, gallery)
    row_id = _given(fields, "id", default=default_id(number))
    shown = [part.cid for turn in messages for part in turn.content if isinstance(part, ImagePart)]
    group = _given(fields, "group", default=shown[0] if shown else row_id)
    return Example(id=row_id, messages=messages, group=group, tags=_tags(fields)).checked()


def aliased(record: Mapping[str, Any], field: str) -> Any:
    """Return what a record says under a field's name or an alias of it, None where it says nothing.

    Raises DataError when two names say the same.
    """
    names = [name for name in record if ALIASES.get(name, name) == field]
    if len(names) > 1:
        raise refused(f"{names[1]} says the same as another field of the row")
    return record[names[0]] if names else None


def _given(fields: Mapping[str, Any], name: str, *, default: str) -> Any:
    """Return a field, or the default where it is left out or its cell is empty."""
    value = fields.get(name)
    return default if value is None or value == "" else value


def default_id(number: int) -> str:
    """Name a row by its number: content would leak through an id that is published."""
    return f"row-{number:06d}"


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record under canonical field names; unknown and doubled fields are refused."""
    fields: dict[str, Any] = {}
    for name, value in record.items():
        field = ALIASES.get(name, name)
        if field in _FOREIGN_FIELDS:
            raise refused(f"field {field!r}: {_FOREIGN_FIELDS[field]} is not trained on")
        if field not in FIELDS:
            raise refused(f"unknown field {str(name)[:80]!r}, known are {', '.join((*FIELDS, *ALIASES))}")
        if field in fields:
            raise refused(f"{name} says the same as another field of the row")
        fields[field] = value
    if "messages" in fields and fields.keys() & {"image", "prompt", "response"}:
        raise refused("both messages and the shorthand image, prompt, response")
    return fields


def _pair(fields: Mapping[str, Any], gallery: Gallery) -> tuple[Turn, ...]:
    prompt, response = text_field(fields, "prompt"), text_field(fields, "response")
    shown: tuple[Part, ...] = ()
    if "image" in fields:
        value = fields["image"]
        shown = tuple(
            ImagePart(gallery.add(item)) for item in (value if isinstance(value, list) else [value])
        )
        if not shown:
            raise refused("no image: the list is empty")
    return (Turn("user", (*shown, TextPart(prompt))), Turn("assistant", (TextPart(response),)))


def _conversation(fields: Mapping[str, Any], gallery: Gallery) -> tuple[Turn, ...]:
    turns = fields["messages"]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise refused("messages is not a list of turns")
    return tuple(_turn(turn, gallery) for turn in turns)


def _turn(turn: dict[str, Any], gallery: Gallery) -> Turn:
    if set(turn) != {"role", "content"}:
        raise refused(f"a turn has role and content, not {', '.join(sorted(map(str, turn)))}")
    content = turn["content"]
    if isinstance(content, str):
        return Turn(turn["role"], (TextPart(check_text(content, what="content")),))
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise refused("a turn's content is neither text nor a list of parts")
    return Turn(turn["role"], tuple(_part(part, gallery) for part in content))


def _part(part: dict[str, Any], gallery: Gallery) -> Part:
    """Read one content part, canonical or as the OpenAI interfaces write it."""
    kind = part.get("type")
    if isinstance(kind, str) and kind in _FOREIGN_PARTS:
        raise refused(f"a part of type {kind!r}: {_FOREIGN_PARTS[kind]} is not trained on")
    match part:
        case {"type": "text" | "input_text", "text": text}:
            return TextPart(check_text(text, what="text"))
        case {"type": "image", "cid": cid}:
            return ImagePart(gallery.add_captured(picture_cid(cid), captures=Captures.at_home()))
        case {"type": "image", "image": source} | {"type": "input_image", "image_url": source}:
            return ImagePart(gallery.add(source))
        case {"type": "image_url", "image_url": {"url": source}} | {"type": "image_url", "image_url": source}:
            return ImagePart(gallery.add(source))
    raise refused(f"a content part that is neither text nor image: {str(kind)[:40]!r}")


def _tags(fields: Mapping[str, Any]) -> tuple[str, ...]:
    value = fields.get("tags", [])
    if not isinstance(value, list):
        raise refused("tags is not a list")
    return tuple(value)


def json_records(path: Path) -> Iterator[Numbered]:
    """Yield the objects of a JSON Lines file by line number, or why a line is none. Raises DataError."""
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            yield number, _json_record(line)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield lines, the first without a byte order mark."""
    with _opened(path) as handle:
        first = True
        while line := handle.readline(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                raise DataError(
                    f"{path} holds a line of more than {MAX_LINE} bytes", hint="one row is one line"
                )
            yield line.removeprefix(b"\xef\xbb\xbf") if first else line
            first = False


def _json_record(line: bytes) -> Mapping[str, Any] | DataError:
    try:
        record = json.loads(line.decode("utf-8"), object_pairs_hook=unique_names)
    except (ValueError, RecursionError) as err:
        return refused(f"not JSON: {err}")
    return record if isinstance(record, dict) else refused("not a JSON object")


def _csv_records(path: Path, *, any_columns: bool) -> Iterator[Numbered]:
    with _opened(path) as handle:
        try:
            text = handle.read().decode("utf-8-sig")
        except UnicodeDecodeError as err:
            raise DataError(f"{path} is not UTF-8 text: {err}", hint="save it as CSV UTF-8") from err
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
    except csv.Error as err:
        raise DataError(f"{path}: the header is not CSV: {err}", hint="save it as CSV UTF-8") from err
    _check_header(header, path, any_columns=any_columns)
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as err:
            yield number, refused(f"not CSV: {err}")
            continue
        if cells:
            yield number, _csv_record(header, cells)


def _check_header(header: list[str], path: Path, *, any_columns: bool) -> None:
    known = {ALIASES.get(name, name) for name in header}
    doubled = len(set(header) if any_columns else known) < len(header)
    foreign = not any_columns and not known <= set(FIELDS) - {"messages", "tags"}
    if doubled or foreign or len(known) < 2:
        found = ", ".join(header)[:200] or "nothing"
        raise DataError(
            f"{path}: the header names {found}",
            hint="columns are image_path, question, answer, and id and group if you like, between commas",
        )


def _csv_record(header: list[str], cells: list[str]) -> Mapping[str, Any] | DataError:
    if len(cells) != len(header):
        return refused(f"{len(cells)} cells under {len(header)} columns")
    return dict(zip(header, cells, strict=True))


def _opened(path: Path) -> io.BufferedReader:
    try:
        return io.BufferedReader(open_for_reading(path, what="rows"))
    except StorageError as err:
        raise DataError(err.message, hint=err.hint) from err
