"""The bytes of a container, read forwards once and hashed twice: as a file and member by member."""

import hashlib
import io
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from zlib_ng import zlib_ng

from kolm.container.layout import refused

Handle = io.BufferedReader | io.BytesIO

_CHUNK = 1 << 21
_BUFFERS = 3
_ALONE = 1 << 18  # below this, handing over to the second thread costs more than it saves


class Tape:
    """Reads a handle from its beginning; every byte read enters the digest of the file.

    Large members are hashed on two threads: hashlib lets go of the interpreter while it works.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._stamp = stamp_of(handle)
        self._file = hashlib.sha256()
        self._pool: ThreadPoolExecutor | None = None
        self._buffers: deque[memoryview] = deque()
        self._pending: deque[Future[None]] = deque()
        self._crc = 0
        self.position = 0
        self.size = self._stamp[0]

    def left(self) -> int:
        """Return the number of bytes not yet read."""
        return self.size - self.position

    def take(self, size: int) -> bytes:
        """Read exactly `size` bytes. Raises ArtifactError E_ZIP_TRUNCATED, E_IO_CHANGED."""
        if size > self.left():
            raise refused("E_ZIP_TRUNCATED", f"it ends in the middle of a record, at byte {self.size}")
        data = bytearray(size)
        self._fill(memoryview(data))
        self._settle()
        self._file.update(data)
        return bytes(data)

    def skim(self, size: int) -> tuple[str, int]:
        """Read `size` bytes, which must be there, and return their SHA-256 (hex) and CRC-32.

        Raises ArtifactError E_IO_CHANGED.
        """
        if size < _ALONE:
            data = self.take(size)
            return hashlib.sha256(data).hexdigest(), zlib_ng.crc32(data)
        return self._skim_on_two_threads(size)

    def _skim_on_two_threads(self, size: int) -> tuple[str, int]:
        """Read and hash the member here; the other thread hashes the file, a few buffers behind."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1)
            self._buffers.extend(memoryview(bytearray(_CHUNK)) for _ in range(_BUFFERS))
        member, left, self._crc = hashlib.sha256(), size, 0
        while left:
            if len(self._pending) == _BUFFERS:
                self._pending.popleft().result()  # the oldest buffer is free
            self._buffers.rotate(-1)
            piece = self._buffers[0][: min(left, _CHUNK)]
            self._fill(piece)
            self._pending.append(self._pool.submit(self._file_and_crc, piece))
            member.update(piece)
            left -= len(piece)
        self._settle()
        return member.hexdigest(), self._crc

    def _file_and_crc(self, piece: memoryview) -> None:
        self._file.update(piece)
        self._crc = zlib_ng.crc32(piece, self._crc)

    def tail(self, size: int) -> bytes:
        """Return the last bytes, `size` at most, to explain a defect; reading cannot go on after this."""
        self._settle()
        self._handle.seek(max(0, self.size - size))
        return self._handle.read(size)

    def finish(self) -> bytes:
        """Return the SHA-256 (32 bytes) of everything read; the file must still be the one opened.

        Raises ArtifactError E_IO_CHANGED.
        """
        self._settle()
        check_unchanged(self._handle, stamp=self._stamp)
        return self._file.digest()

    def close(self) -> None:
        """Let the second thread go."""
        if self._pool is not None:
            self._pool.shutdown()

    def _fill(self, view: memoryview) -> None:
        filled = 0
        while filled < len(view):
            count = self._handle.readinto(view[filled:])
            if not count:
                raise refused("E_IO_CHANGED", "the file became shorter while it was read")
            filled += count
        self.position += filled

    def _settle(self) -> None:
        """Wait for the other thread to catch up."""
        while self._pending:
            self._pending.popleft().result()


def stamp_of(handle: Handle) -> tuple[int, int, int]:
    """Return size, modification and change time of an open file; of bytes, their number."""
    if isinstance(handle, io.BytesIO):
        return handle.getbuffer().nbytes, 0, 0
    status = os.fstat(handle.fileno())
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def check_unchanged(handle: Handle, *, stamp: tuple[int, int, int]) -> None:
    """Refuse to go on with a file that is no longer what was hashed. Raises ArtifactError E_IO_CHANGED."""
    if stamp_of(handle) != stamp:
        raise refused("E_IO_CHANGED", "the file was changed while it was read")
