"""Logs of a test: a straight computation of RFC 6962 to compare with, and a signed log held in memory."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kolm.keys import PrivateKey
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.merkle import leaf_hash, node_hash
from kolm.tlog.note import NoteKey
from kolm.tlog.tiles import WIDTH, Fetch, join_entries, tile_path

ORIGIN = "kolm.example/log"
KEY = PrivateKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
LOG = NoteKey(ORIGIN, KEY.public)


def straight_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 2.1 over leaf hashes, as it is written there."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(straight_root(leaves[:split]), straight_root(leaves[split:]))


def straight_files(entries: Sequence[bytes]) -> dict[str, bytes]:
    """All tiles of a log of these entries, each computed from the leaves."""
    files = {}
    for at in range(0, len(entries), WIDTH):
        part = entries[at : at + WIDTH]
        files[tile_path(None, at // WIDTH, len(part))] = join_entries(part)
    hashes, level = [leaf_hash(entry) for entry in entries], 0
    while hashes:
        rows = [hashes[at : at + WIDTH] for at in range(0, len(hashes), WIDTH)]
        for index, row in enumerate(rows):
            files[tile_path(level, index, len(row))] = b"".join(row)
        hashes = [straight_root(row) for row in rows if len(row) == WIDTH]
        level += 1
    return files


def fetching(entries: Sequence[bytes], *, time: int = 1_800_000_000) -> Fetch:
    """Serve a log of these entries, checkpoint included."""
    root = straight_root([leaf_hash(entry) for entry in entries])
    note = Checkpoint(ORIGIN, len(entries), root).signed(KEY, time=time)
    return {**straight_files(entries), "checkpoint": note}.get
