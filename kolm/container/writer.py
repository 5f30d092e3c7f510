"""The deterministic writer: the same members give the same bytes, on every machine and at every time."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from zlib_ng import zlib_ng

from kolm.cid import CID, cid_of_digest
from kolm.container.layout import (
    Entry,
    Names,
    Zip64,
    central_header,
    end_records,
    in_order,
    local_header,
    refused,
)
from kolm.errors import ArtifactError
from kolm.files import AtomicFile, open_for_reading, refusal

_CHUNK = 1 << 20


def write_container(path: Path, members: Mapping[str, bytes | Path], *, zip64: Zip64 | None = None) -> CID:
    """Write `members` (bytes, or files that are copied without being held) to `path` and return its CID.

    `manifest.json` must be among them. The file appears complete or not at all.
    Raises ArtifactError for names that are not allowed, E_IO_CHANGED when a file changes while it is
    copied, StorageError.
    """
    names, order = Names(), in_order(members)
    for name in order:
        names.add(name)
    if not order:
        raise refused("E_ZIP_LAYOUT", "it has no members")
    thresholds = zip64 or Zip64()
    with AtomicFile(path) as handle:
        out = _Output(handle)
        entries = [_add(out, name, members[name], zip64=thresholds) for name in order]
        directory = out.position
        for entry in entries:
            out.write(central_header(entry, zip64=thresholds))
        size = out.position - directory
        for record in end_records(len(entries), start=directory, size=size, zip64=thresholds):
            out.write(record)
        return cid_of_digest(out.digest())


class _Output:
    """Counts and hashes what is written."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._file = hashlib.sha256()
        self.position = 0

    def write(self, data: bytes) -> None:
        self._handle.write(data)
        self._file.update(data)
        self.position += len(data)

    def digest(self) -> bytes:
        return self._file.digest()


def _add(out: _Output, name: str, content: bytes | Path, *, zip64: Zip64) -> Entry:
    """Write one member; its header comes first, so a file is read twice and must not change between."""
    size, crc = _measure(content)
    entry = Entry(name, out.position, size, crc)
    out.write(local_header(entry, zip64=zip64))
    copied = 0
    for piece in _pieces(content):
        out.write(piece)
        size, copied = size - len(piece), zlib_ng.crc32(piece, copied)
    if size or copied != crc:
        raise ArtifactError(
            f"{content!s} changed while it was copied",
            check="E_IO_CHANGED",
            hint="nothing was written; run it again when nobody else writes there",
        )
    return entry


def _measure(content: bytes | Path) -> tuple[int, int]:
    """Return size and CRC-32."""
    size, crc = 0, 0
    for piece in _pieces(content):
        size, crc = size + len(piece), zlib_ng.crc32(piece, crc)
    return size, crc


def _pieces(content: bytes | Path) -> Iterator[bytes]:
    """Yield the bytes of a member piece by piece."""
    if isinstance(content, bytes):
        yield content
        return
    with open_for_reading(content, what="member") as handle:
        try:
            while piece := handle.read(_CHUNK):
                yield piece
        except OSError as err:
            raise refusal(err, action="read the member", path=content) from err
