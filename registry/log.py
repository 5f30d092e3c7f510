"""The registry's own log: its key, its entries, each once, and their proofs."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from kolm.cid import sha256_hex
from kolm.errors import ArtifactError, KolmError, SpecError, StorageError
from kolm.keys import PrivateKey, load_private, save_private
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.merkle import inclusion_proof
from kolm.tlog.note import NoteKey, is_name
from kolm.tlog.proof import LogProof
from kolm.tlog.tiles import TileReader, read_entries
from registry.sequencer import Sequencer

WAIT_SECONDS = 30
"""Longest wait for an entry to be published."""


class Places(Protocol):
    """Where entries stand, by the SHA-256 of their bytes; made again from the log whenever it is behind.

    Each raises StorageError.
    """

    def place_of(self, digest: str) -> int | None:
        """Return the index of an entry, or None."""
        ...

    def note_places(self, rows: Iterator[tuple[str, int]]) -> None:
        """Keep the index of each entry; the first index of a digest stays."""
        ...

    def noted(self) -> int:
        """Return how many entries of the log, from the first, were noted without a gap."""
        ...


class Log:
    """One log in one directory. Raises StorageError, SigningError, SpecError (the name)."""

    def __init__(self, data: Path, places: Places, *, origin: str | None = None) -> None:
        key = own_key(data / "log.pem")
        self._name = origin or f"kolm-registry/{key.key_id[:16]}"
        if not is_name(self._name):
            raise SpecError(f"{self._name!r} cannot name a log", hint="no white space and no plus sign")
        self.key = NoteKey(self._name, key.public)
        """The key by which readers know the log, as `log.vkey` of their trust directory."""
        self._places = places
        self._sequencer = Sequencer(data / "tlog", origin=self._name, key=key)
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[int]] = {}
        self._catch_up()

    @property
    def size(self) -> int:
        """Return how many entries are published."""
        return self._sequencer.size

    def add(self, entry: bytes) -> int:
        """Log an entry once and return its index when it is published. Raises StorageError."""
        digest = sha256_hex(entry)
        with self._lock:
            known = self._places.place_of(digest)
            if known is not None:
                return known
            waiting = self._under_way.get(digest) or self._sequencer.append(entry)
            self._under_way[digest] = waiting
        try:
            index = waiting.result(WAIT_SECONDS)
        except TimeoutError as err:
            raise StorageError("the log did not publish an entry in time", hint="is the disk slow?") from err
        except KolmError:
            self._forget(digest, waiting)
            raise
        self._places.note_places(iter([(digest, index)]))
        # Not before it is noted: whoever comes next must find it in one of the two.
        self._forget(digest, waiting)
        return index

    def index_of(self, entry: bytes) -> int | None:
        """Return where an entry stands; None if it is not in the log."""
        return self._places.place_of(sha256_hex(entry))

    def proof(self, entry: bytes) -> bytes | None:
        """Return the proof of an entry against the newest checkpoint; None if it is not in the log."""
        index = self.index_of(entry)
        note = self._sequencer.read("checkpoint")
        if index is None or note is None:
            return None
        size = Checkpoint.open(note, self.key).size
        hashes = inclusion_proof(index, size, TileReader(self._sequencer.read, size))
        return LogProof(index, tuple(hashes), note).to_bytes()

    def read(self, path: str) -> bytes | None:
        """Return the bytes at a path of the log; None if there are none. Raises StorageError."""
        return self._sequencer.read(path)

    def check(self) -> None:
        """Raise StorageError if nothing can be logged, or what was published cannot be renewed."""
        self._sequencer.check()

    def close(self) -> None:
        """Finish what was taken in."""
        self._sequencer.close()

    def _forget(self, digest: str, waiting: "Future[int]") -> None:
        with self._lock:
            if self._under_way.get(digest) is waiting:
                del self._under_way[digest]

    def _catch_up(self) -> None:
        """Note what was published when a crash came before its place was noted."""
        begin, size = self._places.noted(), self.size
        if begin > size or (begin and self._last_place(begin) != begin - 1):
            raise StorageError(
                f"the index knows {begin} entries of a log that holds {size}, or others",
                hint="restore log.pem, tlog/ and index together: a log begun anew would contradict this one",
            )
        entries = self._entries(begin, size)
        self._places.note_places((sha256_hex(entry), begin + at) for at, entry in enumerate(entries))

    def _last_place(self, size: int) -> int | None:
        """Return where the index puts the last of the first `size` entries."""
        (entry,) = self._entries(size - 1, size)
        return self._places.place_of(sha256_hex(entry))

    def _entries(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield published entries. Raises StorageError where they are damaged."""
        try:
            yield from read_entries(self.read, begin, end, size=self.size)
        except ArtifactError as err:
            raise StorageError(
                f"the log has lost entries: {err.message}", hint="restore its directory whole, never in part"
            ) from err


def own_key(path: Path) -> PrivateKey:
    """Read a key of the registry itself, made at the first start. Raises SigningError, StorageError."""
    if not path.exists():
        save_private(PrivateKey.generate(), path, passphrase=None)
    return load_private(path, passphrase=lambda: None)
