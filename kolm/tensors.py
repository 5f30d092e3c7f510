"""safetensors files read without torch: what tensors there are, and the digest of each one's bytes.

The reader accepts what the reference implementation accepts and nothing else: the tensors fill the
data area exactly, without gaps or overlaps, and the header says nothing twice.
"""

import hashlib
import io
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kolm.canonical import unique_names
from kolm.errors import ArtifactError
from kolm.files import open_for_reading, refusal

Source = Path | bytes | BinaryIO
"""A file, its bytes, or an open seekable stream that holds nothing else."""

_MAX_HEADER = 100_000_000  # bytes; the reference implementation's limit
_MAX_RANK = 64
_CHUNK = 1 << 20
_HINT = "the weights file is damaged or was not written by safetensors; get it again"
DTYPES = {
    "BOOL": ("bool", 8),
    "U8": ("uint8", 8),
    "I8": ("int8", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "I16": ("int16", 16),
    "U16": ("uint16", 16),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "I32": ("int32", 32),
    "U32": ("uint32", 32),
    "F32": ("float32", 32),
    "I64": ("int64", 64),
    "U64": ("uint64", 64),
    "F64": ("float64", 64),
    "C64": ("complex64", 64),
}
"""Safetensors' word for a dtype: torch's word, and the bits of one element."""


@dataclass(frozen=True)
class TensorEntry:
    """One row of the header: `start` counts from the beginning of the file, `bytes` is its length there."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    bytes: int


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: `dtype` as torch spells it, `sha256` (hex) over its raw little-endian bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str
    bytes: int


def read_header(source: Source) -> dict[str, TensorEntry]:
    """List the tensors of a safetensors file by name, in the order of their bytes.

    Raises ArtifactError E_TENSOR_FORMAT, StorageError.
    """
    with _Opened(source) as handle:
        return _entries(handle)


def read_tensors(source: Source) -> dict[str, TensorInfo]:
    """List the tensors of a safetensors file by name, each with the digest of its bytes.

    Raises ArtifactError E_TENSOR_FORMAT, StorageError.
    """
    with _Opened(source) as handle:
        return {
            name: TensorInfo(name, entry.dtype, entry.shape, _digest(handle, entry), entry.bytes)
            for name, entry in _entries(handle).items()
        }


class _Opened:
    """A source as a stream; closes what it opened and leaves what it was given open."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __enter__(self) -> BinaryIO:
        if isinstance(self._source, Path):
            self._handle: BinaryIO = open_for_reading(self._source, what="weights file")
        elif isinstance(self._source, bytes):
            self._handle = io.BytesIO(self._source)
        else:
            self._handle = self._source
        return self._handle

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(self._source, Path | bytes):
            self._handle.close()
        if isinstance(error, OSError) and isinstance(self._source, Path):
            raise refusal(error, action="read the weights file", path=self._source) from error


def _entries(handle: BinaryIO) -> dict[str, TensorEntry]:
    """Read and check the header: 8 bytes of length, that many bytes of JSON, then the data."""
    total = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    length = int.from_bytes(_read(handle, 8), "little")
    if length > min(_MAX_HEADER, total - 8):
        raise _error(f"the header claims {length} bytes; the file has {total}")
    header = _parse(_read(handle, length))
    header.pop("__metadata__", None)
    rows = [_entry(name, row, base=8 + length) for name, row in header.items()]
    rows.sort(key=lambda row: (row.start, row.bytes))
    end = 8 + length
    for row in rows:
        if row.start != end:
            raise _error(f"the bytes of {row.name!r} overlap others or leave a gap")
        end += row.bytes
    if end != total:
        raise _error(f"the tensors end at byte {end}; the file has {total}")
    return {row.name: row for row in rows}


def _parse(raw: bytes) -> dict[str, Any]:
    """Parse the header's JSON, in which no name occurs twice."""
    if not raw.startswith(b"{"):
        raise _error("the header does not begin with '{'")
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=unique_names, parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        raise _error(f"the header is not JSON: {str(err)[:200]}") from err
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _error("__metadata__ is not a map of strings")
    return header  # type: ignore[no-any-return]


def _entry(name: str, row: Any, *, base: int) -> TensorEntry:
    """Check one row: a known dtype, a shape, and offsets of exactly that many bytes."""
    if not isinstance(row, dict) or set(row) != {"dtype", "shape", "data_offsets"}:
        raise _error(f"{name!r} is not described by dtype, shape and data_offsets")
    shape, offsets = row["shape"], row["data_offsets"]
    if not _sizes(shape) or len(shape) > _MAX_RANK or not _sizes(offsets) or len(offsets) != 2:
        raise _error(f"{name!r} has a shape or offsets that are not whole numbers")
    if not isinstance(row["dtype"], str) or row["dtype"] not in DTYPES:
        raise _error(f"{name!r} has the unknown dtype {str(row['dtype'])[:40]!r}")
    dtype, bits = DTYPES[row["dtype"]]
    size = math.prod(shape) * bits // 8
    if offsets[1] - offsets[0] != size:
        raise _error(
            f"{name!r} of {dtype} and shape {shape} needs {size} bytes, not {offsets[1] - offsets[0]}"
        )
    return TensorEntry(name, dtype, tuple(shape), base + offsets[0], size)


def _sizes(value: Any) -> bool:
    """Say whether `value` is a list of sizes: integers from 0 up to 2^63."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _digest(handle: BinaryIO, entry: TensorEntry) -> str:
    """Hash one tensor's bytes without holding them."""
    digest, left = hashlib.sha256(), entry.bytes
    handle.seek(entry.start)
    while left:
        piece = _read(handle, min(left, _CHUNK))
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _read(handle: BinaryIO, size: int) -> bytes:
    """Read exactly `size` bytes."""
    pieces, left = [], size
    while left and (piece := handle.read(left)):
        pieces.append(piece)
        left -= len(piece)
    if left:
        raise _error("the file ends early")
    return b"".join(pieces)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _error(message: str) -> ArtifactError:
    return ArtifactError(f"not a safetensors file: {message}", check="E_TENSOR_FORMAT", hint=_HINT)
