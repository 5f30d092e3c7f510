"""Files in which data sets are published: JSON arrays and objects, JSON Lines, and Parquet tables."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from apps.capture.sources.record import Sight
from kolm.errors import ArtifactError, DataError, SpecError, StorageError
from kolm.files import read_bytes
from kolm.pairs import Numbered, json_records
from kolm.rows import refused

MAX_BYTES = 4 * 1024**3
"""Largest JSON file that is read at once, in bytes."""

_BESIDE_PICTURES = "metadata.jsonl"
_LISTS = ("data", "questions", "annotations")
_AT_ONCE = 64  # rows of a Parquet table that are in memory together
_FOREIGN = (
    (b"<!doctype html", "an HTML page, not data: was the download page saved?"),
    (b"<html", "an HTML page, not data: was the download page saved?"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"PK\x03\x04", "a ZIP archive: unpack it first"),
)


def sight_of(path: Path) -> Sight:
    """Look at the top of a file or folder and its first record. Raises DataError, SpecError."""
    if _tables(path):
        return Sight("table", frozenset(), _first(rows_of(path)))
    lists = sorted(path.glob("*.json")) if path.is_dir() else []
    if lists and not (path / _BESIDE_PICTURES).is_file():
        return sight_of(lists[0])
    if path.is_dir() or path.suffix.lower() in {".jsonl", ".ndjson"}:
        return Sight("lines", frozenset(), _first(rows_of(path)))
    document = read_json(path)
    if isinstance(document, list):
        return Sight("list", frozenset(), _columns(document))
    if not isinstance(document, dict):
        raise DataError(
            f"{path} holds neither records nor an object", hint="specs/formats/pack.md 6 lists what is read"
        )
    inner = next((document[name] for name in _LISTS if isinstance(document.get(name), list)), [])
    return Sight("object", frozenset(document), _columns(inner))


def read_json(path: Path) -> Any:
    """Read a whole JSON file. Raises DataError saying what it is instead."""
    try:
        data = read_bytes(path, what="data", max_bytes=MAX_BYTES)
    except (StorageError, ArtifactError) as err:
        raise DataError(err.message, hint=err.hint) from err
    _refuse_foreign(path, data)
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as err:
        raise DataError(f"{path} is not JSON: {err}", hint="is it the file that you meant?") from err


def rows_of(path: Path) -> Iterator[Numbered]:
    """Yield the records of a file or folder by number.

    A folder holds Parquet tables, read in the order of their names, or a `metadata.jsonl` beside pictures
    (Hugging Face's imagefolder). Raises DataError, SpecError where pyarrow is needed and missing.
    """
    tables = _tables(path)
    if tables:
        return _table_rows(tables)
    if path.is_dir():
        beside = path / _BESIDE_PICTURES
        if not beside.is_file():
            raise DataError(
                f"{path} holds no Parquet table and no {beside.name}", hint="name the file itself"
            )
        return rows_of(beside)
    if path.suffix.lower() in {".jsonl", ".ndjson"}:
        _refuse_foreign(path, _head(path))
        return json_records(path)
    return listed(read_json(path), path=path)


def listed(document: Any, *members: str, path: Path) -> Iterator[Numbered]:
    """Yield the records of a JSON array, or of the first array that an object has under these names.

    Raises DataError when there is none.
    """
    records = document
    if isinstance(document, dict):
        records = next((document[name] for name in (*members, "data") if name in document), None)
    if not isinstance(records, list):
        raise DataError(
            f"{path} holds no list of records", hint="is it the file that you meant, and its --format?"
        )
    for number, record in enumerate(records, start=1):
        yield number, record if isinstance(record, dict) else refused("not a JSON object")


def folder_of(path: Path) -> Path:
    """Return the folder in which the pictures of a data set lie unless another one is named."""
    return path if path.is_dir() else path.parent


def _tables(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("*.parquet"))
    return [path] if path.suffix.lower() == ".parquet" else []


def _table_rows(tables: list[Path]) -> Iterator[Numbered]:
    """Yield the rows of Parquet tables, numbered through."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as err:
        raise SpecError(
            "Parquet files are read by pyarrow, which is not installed", hint="pip install 'kolm[formats]'"
        ) from err
    number = 0
    for path in tables:
        _refuse_foreign(path, _head(path))
        try:
            with pyarrow.parquet.ParquetFile(path) as table:
                for batch in table.iter_batches(batch_size=_AT_ONCE):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, row
        except (pyarrow.ArrowException, OSError, ValueError) as err:
            reason = str(err).splitlines()[0] if str(err) else type(err).__name__
            raise DataError(f"{path} is not a Parquet file: {reason}", hint="download it again") from err


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(64)
    except OSError as err:
        raise DataError(f"cannot read {path}: {err.strerror}", hint="check the path") from err


def _refuse_foreign(path: Path, data: bytes) -> None:
    start = data[:64].lstrip().lower()
    found = next((words for magic, words in _FOREIGN if start.startswith(magic.lower())), None)
    if found:
        raise DataError(f"{path} is {found}", hint="give the data set's own file")
    if not data:
        raise DataError(f"{path} is empty", hint="download it again")


def _first(rows: Iterator[Numbered]) -> frozenset[str]:
    return next((frozenset(map(str, row)) for _, row in rows if isinstance(row, Mapping)), frozenset())


def _columns(records: list[Any]) -> frozenset[str]:
    return frozenset(map(str, records[0])) if records and isinstance(records[0], dict) else frozenset()
