"""Sequencers of a test: opened, appended to, and read back with every hash checked."""

from pathlib import Path

from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.merkle import leaf_hash
from kolm.tlog.tiles import TileReader, read_entries
from registry.sequencer import JOURNAL_ENTRIES, Sequencer
from tests.kolm.tlog.logs import KEY, LOG, ORIGIN, straight_root
from tests.logs import tree_root


def opened(folder: Path, *, journal_entries: int = JOURNAL_ENTRIES) -> Sequencer:
    return Sequencer(folder, origin=ORIGIN, key=KEY, journal_entries=journal_entries)


def append(log: Sequencer, entries: list[bytes]) -> list[int]:
    return [place.result(20) for place in [log.append(entry) for entry in entries]]


def entries_of(log: Sequencer) -> list[bytes]:
    """All entries, after checking them against the tiles and the checkpoint."""
    checkpoint = Checkpoint.open(log.read("checkpoint") or b"", LOG)
    assert checkpoint.size == log.size
    found = list(read_entries(log.read, 0, log.size, size=log.size))
    if found:
        assert straight_root([leaf_hash(entry) for entry in found]) == checkpoint.root
        assert tree_root(log.size, TileReader(log.read, log.size)) == checkpoint.root
    return found


def snapshot(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
