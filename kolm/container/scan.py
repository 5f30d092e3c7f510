"""The strict forward reader: local headers and data, central directory, end record, and nothing else.

Each record is compared with the only spelling it may have. What follows a difference serves to name
it; the codes are those of specs/formats/container.md 5.
"""

from dataclasses import dataclass
from typing import NoReturn

from kolm.container.layout import (
    ATTRIBUTES,
    CENTRAL,
    CENTRAL_STRUCT,
    END,
    END64,
    END_STRUCT,
    EXTRA64,
    FULL32,
    LOCAL,
    LOCAL_EXTRA64,
    LOCAL_STRUCT,
    LOCATOR64,
    Entry,
    Limits,
    Names,
    Zip64,
    central_header,
    end_records,
    local_header,
    refused,
)
from kolm.container.tape import Tape

_SIGNATURE = 4
_TAIL = 1 << 20  # how much of the end is searched to name a defect that was found
_DESCRIPTOR = b"PK\x07\x08"


@dataclass(frozen=True)
class Member:
    """A member and where its bytes lie: `size` of them from `start` on."""

    entry: Entry
    start: int
    sha256: str
    crc: int

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self.entry.size


def scan(tape: Tape, *, limits: Limits, zip64: Zip64) -> list[Member]:
    """Read a whole container and return its members in order. Raises ArtifactError."""
    if tape.size > limits.file_bytes:
        raise refused("E_LIMIT", f"it has {tape.size} bytes; at most {limits.file_bytes} are read")
    members: list[Member] = []
    names = Names()
    signature = tape.take(_SIGNATURE)
    while signature == LOCAL:
        if len(members) == limits.members:
            raise refused("E_LIMIT", f"it has more than {limits.members} members")
        entry = _local(tape, names=names, limits=limits, zip64=zip64)
        start = tape.position
        digest, crc = tape.skim(entry.size)
        members.append(Member(entry, start, digest, crc))
        signature = _next_signature(tape, entry)
    if not members:
        raise refused("E_ZIP_PREFIX", "it does not begin with a member")
    directory = tape.position - _SIGNATURE
    signature = _central(tape, signature, entries=[member.entry for member in members], zip64=zip64)
    _end(tape, signature, count=len(members), directory=directory, zip64=zip64)
    for member in members:
        if member.crc != member.entry.crc:
            raise refused("E_MEMBER_DIGEST", f"the bytes of {member.entry.name!r} do not have its CRC-32")
    return members


def _local(tape: Tape, *, names: Names, limits: Limits, zip64: Zip64) -> Entry:
    """Read a local header whose signature was read; limits hold before the data is touched."""
    offset = tape.position - _SIGNATURE
    fixed = LOCAL + tape.take(LOCAL_STRUCT.size - _SIGNATURE)
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = LOCAL_STRUCT.unpack(fixed)
    raw_name, extra = tape.take(name_bytes), tape.take(extra_bytes)
    name = raw_name.decode("latin-1")  # one character per byte: whatever is not ASCII is refused by name
    if flags or method:
        raise refused("E_ZIP_METHOD", f"{name[:80]!r} is compressed, encrypted or has a data descriptor")
    names.add(name)
    size = _local_size(name, packed=packed, size=size, extra=extra, zip64=zip64)
    if size > limits.member_bytes:
        raise refused("E_LIMIT", f"{name!r} has {size} bytes; at most {limits.member_bytes} are read")
    entry = Entry(name, offset, size, crc)
    if fixed + raw_name + extra != local_header(entry, zip64=zip64):
        raise refused("E_ZIP_HEADER_MISMATCH", f"the header of {name!r} has a version or date of its own")
    if size > tape.left():
        _blame_size(tape, entry, otherwise="E_ZIP_TRUNCATED")
    return entry


def _local_size(name: str, *, packed: int, size: int, extra: bytes, zip64: Zip64) -> int:
    """Find a member's size in its local header, in the 64-bit field exactly when that is needed."""
    if packed != size:
        raise refused("E_ZIP_HEADER_MISMATCH", f"{name!r} has two different sizes")
    if not extra:
        if size >= zip64.size:
            raise refused("E_ZIP64", f"{name!r} needs a zip64 field and has none")
        return size
    if size != FULL32 or len(extra) != LOCAL_EXTRA64.size:
        raise refused("E_ZIP_EXTRA", f"{name!r} has an extra field")
    kind, length, wide, wide_packed = LOCAL_EXTRA64.unpack(extra)
    if (kind, length) != (EXTRA64, 16) or wide < zip64.size:
        raise refused("E_ZIP_EXTRA", f"{name!r} has an extra field that is not needed")
    if wide != wide_packed:
        raise refused("E_ZIP64", f"{name!r} has two different sizes")
    return int(wide)


def _next_signature(tape: Tape, entry: Entry) -> bytes:
    """Read what follows a member: another one, or the central directory."""
    signature = tape.take(_SIGNATURE)
    if signature == _DESCRIPTOR:
        raise refused("E_ZIP_METHOD", f"{entry.name!r} has a data descriptor")
    if signature not in (LOCAL, CENTRAL, END, END64):
        _blame_size(tape, entry, otherwise="E_ZIP_LAYOUT")
    return signature


def _blame_size(tape: Tape, entry: Entry, *, otherwise: str) -> NoReturn:
    """Tell a wrong size in a local header from bytes that belong to nothing: the directory knows better."""
    tail = tape.tail(_TAIL)
    raw_name = entry.name.encode("ascii")
    row = tail.rfind(CENTRAL)
    while row >= 0 and len(tail) - row >= CENTRAL_STRUCT.size:
        fields = CENTRAL_STRUCT.unpack_from(tail, row)
        same = tail.startswith(raw_name, row + CENTRAL_STRUCT.size) and fields[10] == len(raw_name)
        if same and fields[8] != min(entry.size, FULL32):
            raise refused("E_ZIP_HEADER_MISMATCH", f"{entry.name!r} has another size in the directory")
        row = tail.rfind(CENTRAL, 0, row)
    what = (
        "ends too early" if otherwise == "E_ZIP_TRUNCATED" else "is followed by bytes that belong to nothing"
    )
    raise refused(otherwise, f"{entry.name!r} {what}")


def _central(tape: Tape, signature: bytes, *, entries: list[Entry], zip64: Zip64) -> bytes:
    """Compare the central directory row by row; return the signature that follows it."""
    for entry in entries:
        if signature != CENTRAL:
            raise refused("E_ZIP_LAYOUT", f"{entry.name!r} is missing from the central directory")
        row = CENTRAL + tape.take(CENTRAL_STRUCT.size - _SIGNATURE)
        row += tape.take(sum(CENTRAL_STRUCT.unpack(row)[10:13]))
        if row != central_header(entry, zip64=zip64):
            _blame_row(row, entry, entries=entries, zip64=zip64)
        signature = tape.take(_SIGNATURE)
    if signature == CENTRAL:
        row = CENTRAL + tape.take(CENTRAL_STRUCT.size - _SIGNATURE)
        inside = CENTRAL_STRUCT.unpack(row)[-1] < entries[-1].offset + entries[-1].size
        raise refused("E_ZIP_OVERLAP" if inside else "E_ZIP_LAYOUT", "the directory has a row too many")
    return signature


def _blame_row(row: bytes, entry: Entry, *, entries: list[Entry], zip64: Zip64) -> NoReturn:
    """Name the difference between a directory row and what it must be."""
    fields = CENTRAL_STRUCT.unpack_from(row)
    name_bytes, extra_bytes, comment_bytes = fields[10:13]
    attributes, offset = fields[15:]
    raw_name = row[CENTRAL_STRUCT.size :][:name_bytes]
    extra = row[CENTRAL_STRUCT.size + name_bytes :][:extra_bytes]
    expected = central_header(entry, zip64=zip64)
    expected_extra = expected[CENTRAL_STRUCT.size + len(entry.name) :]
    if comment_bytes:
        raise refused("E_ZIP_EOCD", f"{entry.name!r} has a comment")
    if raw_name != entry.name.encode("ascii"):
        listed = {other.offset for other in entries if other.offset < entry.offset}
        known = raw_name in {other.name.encode("ascii") for other in entries}
        check = "E_ZIP_LAYOUT" if known else "E_ZIP_HEADER_MISMATCH"
        raise refused(
            "E_ZIP_OVERLAP" if offset in listed else check,
            f"the directory has {raw_name[:80]!r} where {entry.name!r} belongs",
        )
    if attributes != ATTRIBUTES:
        raise refused("E_ZIP_TYPE", f"{entry.name!r} is not a plain file of mode 0644")
    if extra != expected_extra:
        raise refused("E_ZIP64" if expected_extra else "E_ZIP_EXTRA", f"{entry.name!r} has an extra field")
    if offset != CENTRAL_STRUCT.unpack_from(expected)[-1]:
        raise refused("E_ZIP_OVERLAP", f"the directory says {entry.name!r} begins inside another member")
    raise refused("E_ZIP_HEADER_MISMATCH", f"{entry.name!r} has two headers that disagree")


def _end(tape: Tape, signature: bytes, *, count: int, directory: int, zip64: Zip64) -> None:
    """Compare the end records with the only ones that fit, and see that nothing follows."""
    size = tape.position - _SIGNATURE - directory
    wide, end = end_records(count, start=directory, size=size, zip64=zip64)
    if wide:
        if signature != END64 or signature + tape.take(len(wide) - _SIGNATURE) != wide:
            raise refused("E_ZIP64", "the zip64 end records are missing or wrong")
        signature = tape.take(_SIGNATURE)
    elif signature in (END64, LOCATOR64):
        raise refused("E_ZIP64", "there are zip64 end records that are not needed")
    if signature != END:
        raise refused("E_ZIP_LAYOUT", "the central directory is followed by something else")
    found = END + tape.take(END_STRUCT.size - _SIGNATURE)
    if found != end:
        raise refused("E_ZIP_EOCD", "the end record is wrong or has a comment")
    if tape.left():
        after = tape.take(min(_SIGNATURE, tape.left()))
        check = {LOCAL: "E_ZIP_LAYOUT", CENTRAL: "E_ZIP_EOCD", END: "E_ZIP_EOCD"}.get(after, "E_ZIP_SUFFIX")
        raise refused(check, f"{tape.left() + len(after)} bytes follow the end record")
