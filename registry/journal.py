"""The journal of the log: entries as they came, each with its length and checksum, synced batch by batch."""

import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from kolm.errors import StorageError
from kolm.files import refusal, write_atomic

_MAGIC = b"kolm-journal/1\n\x00"
_HEAD = struct.Struct(">16sQ")
_RECORD = struct.Struct(">HI")


class Journal:
    """An append-only file of the entries from `begin` on; everything before is in durable tiles.

    Raises StorageError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries = 0
        """Entries it holds."""
        if not path.exists():
            if path.with_name("checkpoint").exists():
                raise StorageError(f"{path}: missing beside a checkpoint", hint="restore the directory whole")
            write_atomic(path, _HEAD.pack(_MAGIC, 0))
        self._open()

    def read(self) -> list[bytes]:
        """Return all entries once the disk has them; what follows is cut off when the next one comes.

        What a killed process wrote may be in memory only: nobody signs it before the disk has it too.
        What cannot be read stays where it is, for whoever has to find out what happened.
        """
        self._file.close()
        self._open()
        try:
            os.fsync(self._file.fileno())
            data = self._path.read_bytes()
        except OSError as err:
            raise refusal(err, action="read", path=self._path) from err
        found, at = [], _HEAD.size
        while at + _RECORD.size <= len(data):
            length, checksum = _RECORD.unpack_from(data, at)
            entry = data[at + _RECORD.size : at + _RECORD.size + length]
            if not length or len(entry) != length or crc32(entry) != checksum:
                break
            found.append(entry)
            at += _RECORD.size + length
        self._length = at
        self.entries = len(found)
        return found

    def append(self, entries: Sequence[bytes]) -> None:
        """Add entries and wait until the disk has them; if it refuses, none of them was added."""
        data = b"".join(_RECORD.pack(len(entry), crc32(entry)) + entry for entry in entries)
        try:
            self._cut()
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as err:
            with suppress(OSError):  # else the next one begins with it
                self._cut()
            raise refusal(err, action="write", path=self._path) from err
        self._length += len(data)
        self.entries += len(entries)

    def restart(self, begin: int) -> None:
        """Begin again after entry `begin`, once every tile before it is on the disk.

        After a refusal either file may lie there; `read` goes by that one.
        """
        os.sync()
        write_atomic(self._path, _HEAD.pack(_MAGIC, begin))
        self.read()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> None:
        try:
            self._file = self._path.open("r+b", buffering=0)
            magic, self.begin = _HEAD.unpack(self._file.read(_HEAD.size))
        except (OSError, struct.error) as err:
            raise StorageError(f"{self._path}: cannot be read: {err}", hint="restore the directory") from err
        if magic != _MAGIC:
            raise StorageError(f"{self._path}: not a journal", hint="restore the directory whole")
        self._length = _HEAD.size

    def _cut(self) -> None:
        """Let the file end where its last good entry does, and write on from there."""
        if self._file.seek(0, os.SEEK_END) != self._length:
            self._file.truncate(self._length)
            self._file.seek(self._length)
