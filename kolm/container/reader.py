"""An opened container: its CID, its members and their digests, all from one pass over the bytes."""

import io
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from kolm.cid import CID, cid_of_digest, sha256_hex
from kolm.container.layout import Limits, Zip64, refused
from kolm.container.scan import Member, scan
from kolm.container.tape import Handle, Tape, check_unchanged, stamp_of
from kolm.errors import ArtifactError
from kolm.files import open_for_reading, refusal

MAX_READ = 256 << 20


class Container:
    """A container that was read once from end to end and is exactly what the format allows.

    Members are read from the very file that was hashed, and again compared with its digests.
    """

    def __init__(self, handle: Handle, *, cid: CID, members: list[Member]) -> None:
        self._handle = handle
        self._stamp = stamp_of(handle)
        self._members = {member.entry.name: member for member in members}
        self.cid = cid
        self.names = tuple(self._members)

    @classmethod
    def open(cls, source: Path | bytes, *, limits: Limits | None = None, zip64: Zip64 | None = None) -> Self:
        """Read and check a container; a file is not held in memory.

        Raises ArtifactError with the E_ZIP_*, E_LIMIT, E_IO_CHANGED or E_MEMBER_DIGEST of
        specs/formats/container.md 5, StorageError.
        """
        handle = _opened(source)
        tape = Tape(handle)
        try:
            members = scan(tape, limits=limits or Limits(), zip64=zip64 or Zip64())
            return cls(handle, cid=cid_of_digest(tape.finish()), members=members)
        except OSError as err:
            handle.close()
            raise refusal(err, action="read the artifact", path=Path(str(source))) from err
        except ArtifactError:
            handle.close()
            raise
        finally:
            tape.close()

    @classmethod
    def begin(cls, source: Path) -> "Future[Self]":
        """Open a container on another thread, while the caller does other things; see `open` for the errors.

        A process that has no more use for the answer ends without waiting for it.
        """
        reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="container")
        opening = reading.submit(cls.open, source)
        reading.shutdown(wait=False)
        return opening

    def size(self, name: str) -> int:
        """Return the number of bytes of a member. Raises ArtifactError E_MEMBER_MISSING."""
        return self._member(name).size

    def sha256(self, name: str) -> str:
        """Return the SHA-256 (hex) of a member's bytes. Raises ArtifactError E_MEMBER_MISSING."""
        return self._member(name).sha256

    def read(self, name: str, *, max_bytes: int = MAX_READ) -> bytes:
        """Return a member's bytes.

        Raises ArtifactError E_MEMBER_MISSING, E_LIMIT before reading, E_IO_CHANGED.
        """
        member = self._member(name)
        if member.size > max_bytes:
            raise refused("E_LIMIT", f"{name!r} has {member.size} bytes; at most {max_bytes} are read")
        with self.open_member(name) as stream:
            data = stream.read()
        if sha256_hex(data) != member.sha256:
            raise refused("E_IO_CHANGED", f"{name!r} was changed after it was hashed")
        return data

    def open_member(self, name: str) -> io.BufferedReader:
        """Open a member as a seekable stream over the hashed file.

        Raises ArtifactError E_MEMBER_MISSING; reading raises E_IO_CHANGED when the file has changed.
        """
        member = self._member(name)
        window = _Window(self._handle, start=member.start, size=member.size, stamp=self._stamp)
        return io.BufferedReader(window, buffer_size=1 << 20)

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _member(self, name: str) -> Member:
        try:
            return self._members[name]
        except KeyError:
            raise refused("E_MEMBER_MISSING", f"it has no member {name!r}") from None


def _opened(source: Path | bytes) -> Handle:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return io.BufferedReader(open_for_reading(source, what="artifact"), buffer_size=1 << 16)


class _Window(io.RawIOBase):
    """The bytes of one member as a file of their own."""

    def __init__(self, handle: Handle, *, start: int, size: int, stamp: tuple[int, int, int]) -> None:
        super().__init__()
        self._handle = handle
        self._start = start
        self._size = size
        self._stamp = stamp
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        check_unchanged(self._handle, stamp=self._stamp)
        wanted = max(0, min(len(buffer), self._size - self._at))
        position = self._start + self._at
        if isinstance(self._handle, io.BytesIO):
            data = bytes(self._handle.getbuffer()[position : position + wanted])
        else:
            data = os.pread(self._handle.fileno(), wanted, position)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
