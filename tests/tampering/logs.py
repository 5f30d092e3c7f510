"""A log in memory for bundles: proofs, checkpoints and the tile of a tree this small."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from kolm.canonical import canonical_json
from kolm.cid import cid_of
from kolm.errors import CheckedError
from kolm.tlog.merkle import leaf_hash
from kolm.tlog.proof import LogProof
from kolm.verify import AuditReport
from tests.bundles import Bundle
from tests.logs import TIME, Log, tree_root

NOW = datetime.fromtimestamp(TIME, UTC)


@dataclass
class AttackedLog(Log):
    """A log whose parts can be had one by one, and put together to something else."""

    def subtree(self, height: int, index: int) -> bytes:
        """Return the hash of a complete subtree."""
        return self._subtree(height, index)

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first `size` entries."""
        return tree_root(len(self.entries) if size is None else size, self._subtree)

    def fetch(self, path: str) -> bytes | None:
        """Serve the checkpoint and the one tile that a log this small has."""
        tile = {f"tile/0/000.p/{len(self.entries)}": b"".join(map(leaf_hash, self.entries))}
        return ({"checkpoint": self.checkpoint()} | tile).get(path)

    def opened(self, index: int, *, checkpoint: bytes | None = None) -> LogProof:
        """Return a proof taken apart, under another checkpoint if one is given."""
        proof = LogProof.parse(self.proof(index))
        return replace(proof, checkpoint=checkpoint or proof.checkpoint)


def entry_of(bundle: Bundle, receipt: bytes | None = None) -> bytes:
    """Spell the log's entry of a bundle (specs/formats/log.md 1) without the code under test."""
    named = {"artifact": bundle.cid, "receipt": cid_of(receipt or bundle.receipt)}
    return canonical_json({"kind": "kolm-entry/1", "what": "receipt", **named})


PLACE = 3
"""Where the log of these tests holds the bundle's entry; its neighbour's is the one after."""


Ask = Callable[..., AuditReport]


def refused(action: Callable[[], object]) -> str:
    """Return the code with which something is refused."""
    with pytest.raises(CheckedError) as caught:
        action()
    return caught.value.check


def flipped(proof: LogProof, place: int) -> LogProof:
    """Return a proof with another bit in one of its hashes."""
    hashes = list(proof.hashes)
    hashes[place] = bytes([hashes[place][0] ^ 1]) + hashes[place][1:]
    return replace(proof, hashes=tuple(hashes))
