"""The records of the container, byte for byte, and the names it allows (specs/formats/container.md 2, 3)."""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from kolm.errors import ArtifactError

MANIFEST = "manifest.json"
LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
END64, LOCATOR64 = b"PK\x06\x06", b"PK\x06\x07"
LOCAL_STRUCT = struct.Struct("<4s5H3L2H")
CENTRAL_STRUCT = struct.Struct("<4s6H3L5H2L")
END_STRUCT = struct.Struct("<4s4H2LH")
END64_STRUCT = struct.Struct("<4sQ2H2L4Q")
LOCATOR64_STRUCT = struct.Struct("<4sLQL")
LOCAL_EXTRA64 = struct.Struct("<2H2Q")

FULL32, FULL16 = 0xFFFFFFFF, 0xFFFF  # "look in the zip64 record" (APPNOTE 4.4.1.4)
VERSION, VERSION64 = 10, 45  # needed to extract: stored file; zip64 (APPNOTE 4.4.3.2)
UNIX = 3 << 8
TIME, DATE = 0, 0x0021  # 1980-01-01 00:00, the first instant the format can say
ATTRIBUTES = 0o100644 << 16  # a plain file, rw-r--r--
EXTRA64 = 1

_LONGEST_NAME = 255
_NAME = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*\Z")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|\Z)")  # device names of Windows


@dataclass(frozen=True)
class Limits:
    """What a reader is willing to look at, checked before anything is read."""

    file_bytes: int = 64 << 30
    member_bytes: int = 32 << 30
    members: int = 100_000


@dataclass(frozen=True)
class Zip64:
    """The smallest size or offset, and the smallest number of members, that need 64-bit fields."""

    size: int = FULL32
    count: int = FULL16


@dataclass(frozen=True)
class Entry:
    """One member as its headers describe it; `offset` is where its local header begins."""

    name: str
    offset: int
    size: int
    crc: int


def local_header(entry: Entry, *, zip64: Zip64) -> bytes:
    """Spell the record that stands before a member's bytes (APPNOTE 4.3.7)."""
    large = entry.size >= zip64.size
    shown = FULL32 if large else entry.size
    extra = LOCAL_EXTRA64.pack(EXTRA64, 16, entry.size, entry.size) if large else b""
    name = entry.name.encode("ascii")
    version = VERSION64 if large else VERSION
    fixed = LOCAL_STRUCT.pack(
        LOCAL, version, 0, 0, TIME, DATE, entry.crc, shown, shown, len(name), len(extra)
    )
    return fixed + name + extra


def central_header(entry: Entry, *, zip64: Zip64) -> bytes:
    """Spell a member's row of the central directory (APPNOTE 4.3.12)."""
    large, far = entry.size >= zip64.size, entry.offset >= zip64.size
    wide = [entry.size, entry.size] * large + [entry.offset] * far
    extra = struct.pack(f"<2H{len(wide)}Q", EXTRA64, 8 * len(wide), *wide) if wide else b""
    name = entry.name.encode("ascii")
    version = VERSION64 if wide else VERSION
    shown = FULL32 if large else entry.size
    fixed = CENTRAL_STRUCT.pack(
        CENTRAL, UNIX | version, version, 0, 0, TIME, DATE, entry.crc, shown, shown, len(name), len(extra),
        0, 0, 0, ATTRIBUTES, FULL32 if far else entry.offset,
    )  # fmt: skip
    return fixed + name + extra


def end_records(count: int, *, start: int, size: int, zip64: Zip64) -> tuple[bytes, bytes]:
    """Spell the zip64 end records, empty when not needed, and the end record (APPNOTE 4.3.14-16).

    The central directory has `count` rows in `size` bytes from `start` on.
    """
    many, far, long = count >= zip64.count, start >= zip64.size, size >= zip64.size
    wide = b""
    if many or far or long:
        wide = END64_STRUCT.pack(
            END64, END64_STRUCT.size - 12, UNIX | VERSION64, VERSION64, 0, 0, count, count, size, start
        ) + LOCATOR64_STRUCT.pack(LOCATOR64, 0, start + size, 1)
    rows = FULL16 if many else count
    end = END_STRUCT.pack(END, 0, 0, rows, rows, FULL32 if long else size, FULL32 if far else start, 0)
    return wide, end


def check_name(name: str) -> None:
    """Refuse a name that any file system or reader could understand differently.

    Raises ArtifactError E_ZIP_TYPE for a folder, E_ZIP_NAME otherwise.
    """
    if name.endswith("/"):
        raise refused("E_ZIP_TYPE", f"{name[:80]!r} is a folder; only files are kept")
    if len(name) > _LONGEST_NAME or not _NAME.match(name):
        raise refused("E_ZIP_NAME", f"the member name {name[:80]!r} is not allowed")
    for part in name.split("/"):
        if part.endswith(".") or _RESERVED.match(part.lower()):
            raise refused("E_ZIP_NAME", f"the member name {name[:80]!r} has the part {part[:40]!r}")


class Names:
    """The names seen so far: each once, in order, none equal to another but for case or depth."""

    def __init__(self) -> None:
        self._last = ""
        self._files: dict[str, str] = {}
        self._folders: set[str] = set()

    def add(self, name: str) -> None:
        """Take the next name of the container.

        Raises ArtifactError E_ZIP_TYPE, E_ZIP_NAME, E_ZIP_DUPLICATE, E_ZIP_NAME_COLLISION, E_ZIP_LAYOUT.
        """
        check_name(name)
        folded = name.casefold()
        if self._files.get(folded) == name:
            raise refused("E_ZIP_DUPLICATE", f"{name!r} is there twice")
        folders = set(_folders(folded))
        if folded in self._files or folded in self._folders or folders & self._files.keys():
            raise refused("E_ZIP_NAME_COLLISION", f"{name!r} would be the same file as another member")
        if not self._files and name != MANIFEST:
            raise refused("E_ZIP_LAYOUT", f"the first member is {name!r}, not {MANIFEST}")
        if len(self._files) > 1 and name < self._last:
            raise refused("E_ZIP_LAYOUT", f"{name!r} stands after {self._last!r}; members are sorted")
        self._files[folded] = name
        self._folders |= folders
        self._last = name


def in_order(names: Iterable[str]) -> list[str]:
    """Sort member names as the container holds them: the manifest, then the others by their bytes."""
    return sorted(names, key=lambda name: (name != MANIFEST, name))


def refused(check: str, message: str) -> ArtifactError:
    """Make the error for bytes that are not a container."""
    return ArtifactError(
        f"not a kolm artifact: {message}",
        check=check,
        hint="the file was changed, cut off or repacked; get it again from its publisher or registry",
    )


def _folders(name: str) -> list[str]:
    """List the folders above a name: a/b/c gives a, a/b."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]
