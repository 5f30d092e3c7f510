"""A small log in memory: entries, signed checkpoints of any size, and proofs, without a registry."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kolm.keys import PrivateKey
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.merkle import EMPTY_ROOT, Subtree, inclusion_proof, leaf_hash, node_hash
from kolm.tlog.note import NoteKey
from kolm.tlog.proof import LogProof

TIME = 1_780_000_000
"""When checkpoints are signed unless a test says otherwise: 2026-05-28."""


def tree_root(size: int, subtree: Subtree) -> bytes:
    """Return the root over the first `size` leaves, from complete subtrees (RFC 6962 2.1)."""
    found, end = EMPTY_ROOT, size
    while end:
        height = (end & -end).bit_length() - 1
        end -= 1 << height
        part = subtree(height, end >> height)
        found = part if end + (1 << height) == size else node_hash(part, found)
    return found


@dataclass
class Log:
    """A log of entries, all in memory; `entries` may be changed to make it lie."""

    entries: list[bytes] = field(default_factory=list)
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    origin: str = "kolm-registry/test"

    @property
    def note_key(self) -> NoteKey:
        """The key as its readers know it."""
        return NoteKey(self.origin, self.key.public)

    def append(self, entry: bytes) -> int:
        """Add an entry and return its index."""
        self.entries.append(entry)
        return len(self.entries) - 1

    def checkpoint(self, size: int | None = None, *, time: int = TIME) -> bytes:
        """Return the signed checkpoint of the first `size` entries."""
        count = len(self.entries) if size is None else size
        state = Checkpoint(self.origin, count, tree_root(count, self._subtree))
        return state.signed(self.key, time=time)

    def proof(self, index: int, size: int | None = None, *, time: int = TIME) -> bytes:
        """Return the proof of an entry in the tree of the first `size` entries."""
        count = len(self.entries) if size is None else size
        hashes = tuple(inclusion_proof(index, count, self._subtree))
        return LogProof(index, hashes, self.checkpoint(count, time=time)).to_bytes()

    def _subtree(self, height: int, index: int) -> bytes:
        return _hash(self.entries[index << height : (index + 1) << height])


def _hash(entries: Sequence[bytes]) -> bytes:
    if len(entries) == 1:
        return leaf_hash(entries[0])
    half = len(entries) // 2
    return node_hash(_hash(entries[:half]), _hash(entries[half:]))
