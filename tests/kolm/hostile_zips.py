"""ZIP files with one defect each, built record by record without the code under test.

`HOSTILE` maps the defect to the code that must name it and to the bytes.
"""

import struct
import zlib
from collections.abc import Callable

LOCAL_FIELDS = (
    "need",
    "flags",
    "method",
    "time",
    "date",
    "crc",
    "packed",
    "size",
    "name_length",
    "extra_length",
)
Fields = int | bytes


def local(name: bytes, data: bytes, **other: Fields) -> bytes:
    """Spell a local header and the data behind it."""
    extra = bytes(other.pop("extra", b""))
    body = bytes(other.pop("body", data))
    values = dict(
        zip(
            LOCAL_FIELDS,
            (10, 0, 0, 0, 33, zlib.crc32(data), len(data), len(data), len(name), len(extra)),
            strict=True,
        )
    )
    return b"PK\x03\x04" + struct.pack("<5H3L2H", *(values | other).values()) + name + extra + body


def central(name: bytes, data: bytes, at: int, **other: Fields) -> bytes:
    """Spell a row of the central directory."""
    extra, comment = bytes(other.pop("extra", b"")), bytes(other.pop("comment", b""))
    values = {"made": 0x030A, "need": 10, "flags": 0, "method": 0, "time": 0, "date": 33}
    values |= {"crc": zlib.crc32(data), "packed": len(data), "size": len(data)}
    values |= {"name_length": len(name), "extra_length": len(extra), "comment_length": len(comment)}
    values |= {"disk": 0, "internal": 0, "attributes": 0o100644 << 16, "offset": at}
    return b"PK\x01\x02" + struct.pack("<6H3L5H2L", *(values | other).values()) + name + extra + comment


def end(rows: int, length: int, at: int, **other: Fields) -> bytes:
    """Spell the end record."""
    comment = bytes(other.pop("comment", b""))
    values = {"disk": 0, "first": 0, "here": rows, "count": rows, "size": length, "offset": at}
    values["comment_length"] = len(comment)
    return b"PK\x05\x06" + struct.pack("<4H2LH", *(values | other).values()) + comment


def archive(
    *members: tuple[bytes, bytes],
    locals_: dict[int, dict[str, Fields]] | None = None,
    rows: dict[int, dict[str, Fields]] | None = None,
    ending: dict[str, Fields] | None = None,
    edit_rows: Callable[[list[bytes]], list[bytes]] = lambda rows: rows,
    gap: bytes = b"",
    before_end: bytes = b"",
) -> bytes:
    """Join members to an archive; other fields of the n-th header or row are given by number."""
    body, offsets = b"", []
    for number, (name, data) in enumerate(members):
        offsets.append(len(body))
        body += local(name, data, **(locals_ or {}).get(number, {})) + gap
    directory = edit_rows(
        [
            central(name, data, offsets[number], **(rows or {}).get(number, {}))
            for number, (name, data) in enumerate(members)
        ]
    )
    size = sum(map(len, directory))
    return body + b"".join(directory) + before_end + end(len(directory), size, len(body), **(ending or {}))


M, A, B = (b"manifest.json", b"{}"), (b"a.txt", b"alpha"), (b"b/c.bin", b"\x00\x01\x02")
GOOD = archive(M, A, B)


def named(*names: bytes) -> bytes:
    return archive(M, *((name, b"x") for name in names))


def everywhere(**fields: Fields) -> bytes:
    """Change a field of the second member in both of its headers."""
    return archive(M, A, locals_={1: dict(fields)}, rows={1: dict(fields)})


def before(**fields: Fields) -> bytes:
    """Change a field of the second member in the header before its data."""
    return archive(M, A, locals_={1: dict(fields)})


def listed(**fields: Fields) -> bytes:
    """Change a field of the second member in the directory."""
    return archive(M, A, rows={1: dict(fields)})


def directory(*numbers: int) -> bytes:
    """List of three members these, by number and in this order."""
    return archive(M, A, B, edit_rows=lambda rows: [rows[number] for number in numbers])


SENT_ON: dict[str, Fields] = {"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}
UNKNOWN_FIELD = b"\x75\x70\x10\x00" + bytes(16)
ZIP64_FIELD = struct.pack("<2H2Q", 1, 16, 5, 5)
UNICODE_PATH = struct.pack("<2HBL", 0x7075, 10, 1, zlib.crc32(b"a.txt")) + b"b.txt"
ZIP64_END = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 0x032D, 45, 0, 0, 2, 2, 114, 80)
ZIP64_LOCATOR = struct.pack("<4sLQL", b"PK\x06\x07", 0, 194, 1)

HOSTILE: dict[str, tuple[str, bytes]] = {
    "bytes before the first header": ("E_ZIP_PREFIX", b"#!/bin/sh\n" + GOOD),
    "one byte before the first header": ("E_ZIP_PREFIX", b"P" + GOOD),
    "no archive at all": ("E_ZIP_PREFIX", b"\x89PNG\r\n\x1a\n" + bytes(60)),
    "an archive without members": ("E_ZIP_PREFIX", end(0, 0, 0)),
    "bytes after the end": ("E_ZIP_SUFFIX", GOOD + b"\x00"),
    "a text after the end": ("E_ZIP_SUFFIX", GOOD + b"more"),
    "two archives joined": ("E_ZIP_LAYOUT", GOOD + archive(M, (b"a.txt", b"other"))),
    "bytes between members": ("E_ZIP_LAYOUT", archive(M, A, gap=b"gap")),
    "one name twice": ("E_ZIP_DUPLICATE", named(b"a", b"a")),
    "names that differ in case": ("E_ZIP_NAME_COLLISION", named(b"A.txt", b"a.txt")),
    "folders that differ in case": ("E_ZIP_NAME_COLLISION", named(b"A/x", b"a/X")),
    "a file that is also a folder": ("E_ZIP_NAME_COLLISION", named(b"a", b"a/b")),
    "a folder that is also a file": ("E_ZIP_NAME_COLLISION", named(b"A/b", b"a")),
    "a step upwards": ("E_ZIP_NAME", named(b"../evil")),
    "a step upwards inside": ("E_ZIP_NAME", named(b"a/../../evil")),
    "an absolute name": ("E_ZIP_NAME", named(b"/etc/passwd")),
    "a drive letter": ("E_ZIP_NAME", named(b"C:/evil")),
    "a backslash": ("E_ZIP_NAME", named(b"a\\..\\evil")),
    "an empty part": ("E_ZIP_NAME", named(b"a//b")),
    "a dot as a part": ("E_ZIP_NAME", named(b"a/./b")),
    "an empty name": ("E_ZIP_NAME", named(b"")),
    "a NUL in a name": ("E_ZIP_NAME", named(b"a\x00.txt")),
    "a newline in a name": ("E_ZIP_NAME", named(b"a\n")),
    "a terminal escape in a name": ("E_ZIP_NAME", named(b"\x1b[2Ja")),
    "a name in UTF-8": ("E_ZIP_NAME", named("caf\u00e9".encode())),
    "a name in Latin-1": ("E_ZIP_NAME", named(b"caf\xe9")),
    "a device name": ("E_ZIP_NAME", named(b"adapter/NUL.txt")),
    "a part that ends in a dot": ("E_ZIP_NAME", named(b"a./b")),
    "a name of 256 bytes": ("E_ZIP_NAME", named(b"a" * 256)),
    "another name in the directory": ("E_ZIP_HEADER_MISMATCH", archive(M, A, edit_rows=lambda rows: [
        rows[0], rows[1].replace(b"a.txt", b"b.txt")])),
    "a larger size before the data": ("E_ZIP_HEADER_MISMATCH", before(size=9, packed=9)),
    "a smaller size before the data": ("E_ZIP_HEADER_MISMATCH", before(size=1, packed=1)),
    "a size before the data beyond the file": ("E_ZIP_HEADER_MISMATCH", before(size=99999, packed=99999)),
    "two sizes in one header": ("E_ZIP_HEADER_MISMATCH", before(packed=4)),
    "another size in the directory": ("E_ZIP_HEADER_MISMATCH", listed(size=4, packed=4)),
    "another checksum before the data": ("E_ZIP_HEADER_MISMATCH", before(crc=1)),
    "another checksum in the directory": ("E_ZIP_HEADER_MISMATCH", listed(crc=1)),
    "the same wrong checksum twice": ("E_MEMBER_DIGEST", everywhere(crc=1)),
    "other data under the old checksum": ("E_MEMBER_DIGEST", before(body=b"alphA")),
    "compression in the directory only": ("E_ZIP_HEADER_MISMATCH", listed(method=8)),
    "encryption in the directory only": ("E_ZIP_HEADER_MISMATCH", listed(flags=1)),
    "a date in the directory only": ("E_ZIP_HEADER_MISMATCH", listed(date=0x5A00)),
    "a real date": ("E_ZIP_HEADER_MISMATCH", everywhere(date=0x5A00)),
    "a time": ("E_ZIP_HEADER_MISMATCH", everywhere(time=1)),
    "a version of its own": ("E_ZIP_HEADER_MISMATCH", everywhere(need=20)),
    "made by another system": ("E_ZIP_HEADER_MISMATCH", listed(made=10)),
    "a disk number": ("E_ZIP_HEADER_MISMATCH", listed(disk=1)),
    "the text attribute": ("E_ZIP_HEADER_MISMATCH", listed(internal=1)),
    "a member hidden at the end": ("E_ZIP_LAYOUT", directory(0, 1)),
    "a member hidden in the middle": ("E_ZIP_LAYOUT", directory(0, 2)),
    "members and no directory": ("E_ZIP_LAYOUT", directory()),
    "a row without a member": ("E_ZIP_LAYOUT", archive(M, edit_rows=lambda rows: [
        *rows, central(b"ghost", b"x", 10_000)])),
    "rows in another order": ("E_ZIP_LAYOUT", directory(0, 2, 1)),
    "members in another order": ("E_ZIP_LAYOUT", archive(M, B, A)),
    "the manifest not first": ("E_ZIP_LAYOUT", archive(A, M)),
    "no manifest": ("E_ZIP_LAYOUT", archive(A, B)),
    "two rows for one member": ("E_ZIP_OVERLAP", archive(M, A, edit_rows=lambda rows: [
        *rows, central(b"b.txt", b"alpha", 45)])),
    "a row that repeats another": ("E_ZIP_OVERLAP", directory(0, 0)),
    "a row that points into another member": ("E_ZIP_OVERLAP", listed(offset=3)),
    "a wrong count": ("E_ZIP_EOCD", archive(M, A, ending={"here": 1, "count": 1})),
    "two counts": ("E_ZIP_EOCD", archive(M, A, ending={"here": 1})),
    "a wrong size of the directory": ("E_ZIP_EOCD", archive(M, A, ending={"size": 3})),
    "a wrong offset of the directory": ("E_ZIP_EOCD", archive(M, A, ending={"offset": 3})),
    "several disks": ("E_ZIP_EOCD", archive(M, A, ending={"disk": 1})),
    "a comment": ("E_ZIP_EOCD", archive(M, A, ending={"comment": b"hello"})),
    "an end record inside the comment": ("E_ZIP_EOCD", archive(M, A, ending={"comment": end(0, 0, 0)})),
    "two end records": ("E_ZIP_EOCD", GOOD + end(0, 0, 0)),
    "a comment on a member": ("E_ZIP_EOCD", listed(comment=b"hello")),
    "a zip64 end that is not needed": ("E_ZIP64", archive(M, A, before_end=ZIP64_END + ZIP64_LOCATOR)),
    "a zip64 locator to nowhere": ("E_ZIP64", archive(M, A, before_end=ZIP64_LOCATOR)),
    "a size that sends to zip64 and no field": ("E_ZIP64", before(**SENT_ON)),
    "compression": ("E_ZIP_METHOD", everywhere(method=8)),
    "compression before the data only": ("E_ZIP_METHOD", before(method=8)),
    "encryption": ("E_ZIP_METHOD", everywhere(flags=1)),
    "strong encryption": ("E_ZIP_METHOD", everywhere(flags=0x41)),
    "a data descriptor": ("E_ZIP_METHOD", everywhere(flags=8)),
    "a data descriptor without its flag": ("E_ZIP_METHOD", archive(M, A, gap=b"PK\x07\x08" + bytes(12))),
    "the UTF-8 flag": ("E_ZIP_METHOD", everywhere(flags=0x800)),
    "another name in an extra field": ("E_ZIP_EXTRA", everywhere(extra=UNICODE_PATH)),
    "an extra field in the directory only": ("E_ZIP_EXTRA", listed(extra=UNICODE_PATH)),
    "a zip64 field that is not needed": ("E_ZIP_EXTRA", before(extra=ZIP64_FIELD, **SENT_ON)),
    "an extra field of the zip64 size": ("E_ZIP_EXTRA", before(extra=UNKNOWN_FIELD, **SENT_ON)),
    "a symbolic link": ("E_ZIP_TYPE", listed(attributes=0o120777 << 16)),
    "a device": ("E_ZIP_TYPE", listed(attributes=0o060644 << 16)),
    "a program": ("E_ZIP_TYPE", listed(attributes=0o100755 << 16)),
    "the folder attribute": ("E_ZIP_TYPE", listed(attributes=(0o100644 << 16) | 0x10)),
    "a folder": ("E_ZIP_TYPE", archive(M, (b"a/", b""))),
    "a folder with contents": ("E_ZIP_TYPE", archive(M, (b"a/", b"payload"))),
    "an empty file": ("E_ZIP_TRUNCATED", b""),
    "half a member": ("E_ZIP_TRUNCATED", GOOD[:48]),
    "half a directory": ("E_ZIP_TRUNCATED", GOOD[:-60]),
    "half an end record": ("E_ZIP_TRUNCATED", GOOD[:-3]),
}  # fmt: skip
