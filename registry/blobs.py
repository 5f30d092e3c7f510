"""Where bytes are kept: one read-only file per CID in a local directory."""

from pathlib import Path
from typing import Protocol

from kolm.cid import CID, cid_of_file, digest_of
from kolm.files import make_folder, refusal, replace, write_atomic

PROBE_BYTES = 4096
"""What a disk that is full does not take; an empty file it does."""


class Blobs(Protocol):
    """A store of immutable bytes named by their CID."""

    def put(self, source: Path, *, cid: CID) -> None:
        """Take over `source`, whose bytes have this CID, once the disk has them. Raises StorageError."""
        ...

    def locate(self, cid: CID) -> Path | None:
        """Return the file with these bytes, or None."""
        ...

    def check(self) -> None:
        """Raise StorageError if nothing could be stored now."""
        ...


class LocalBlobs:
    """Blobs as files `sha256/ab/<hex>`, mode 0444, on one file system with the uploads."""

    def __init__(self, root: Path) -> None:
        self._root = make_folder(root / "sha256")

    def put(self, source: Path, *, cid: CID) -> None:
        """Move `source` to its place; a whole copy that is already there stays.

        The rename makes the blob appear at once and complete, or not at all. Raises StorageError.
        """
        target = self._path(cid)
        if target.exists() and cid_of_file(target) == cid:
            return
        make_folder(target.parent)
        try:
            source.chmod(0o444)
        except OSError as err:
            raise refusal(err, action="protect", path=source) from err
        replace(source, target=target)

    def locate(self, cid: CID) -> Path | None:
        """Return the file with these bytes, or None."""
        path = self._path(cid)
        return path if path.is_file() else None

    def check(self) -> None:
        """Raise StorageError if nothing could be stored now."""
        write_atomic(self._root / ".writable", bytes(PROBE_BYTES))

    def _path(self, cid: CID) -> Path:
        name = digest_of(cid).hex()
        return self._root / name[:2] / name
