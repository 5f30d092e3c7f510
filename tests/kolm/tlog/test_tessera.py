"""A real log of others (transparency-dev/tessera): every checkpoint, tile and entry of it."""

from itertools import pairwise
from pathlib import Path

import pytest

from kolm.errors import VerificationError
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.merkle import (
    EMPTY_ROOT,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
)
from kolm.tlog.note import NoteKey
from kolm.tlog.tiles import Fetch, TileReader, parse_tile_path, read_entries, split_entries, split_hashes
from tests.kolm.tlog.logs import LOG, straight_root
from tests.logs import tree_root

KEY = NoteKey.parse("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")


@pytest.fixture
def fetch(vectors: Path) -> Fetch:
    def read(path: str) -> bytes | None:
        file = vectors / "tessera-log" / path
        return file.read_bytes() if file.is_file() else None

    return read


def test_every_checkpoint_is_signed_and_grows_out_of_the_one_before(vectors: Path, fetch: Fetch):
    names = ["checkpoint", *(path.name for path in (vectors / "tessera-log").glob("checkpoint.*"))]
    assert len(names) == 17
    found = sorted((Checkpoint.open(fetch(name) or b"", KEY) for name in names), key=lambda each: each.size)
    assert {each.size for each in found} == set(range(16))
    for old, each in pairwise(found):
        entries = list(read_entries(fetch, 0, each.size, size=each.size))
        tiles = TileReader(fetch, each.size)
        assert tree_root(each.size, tiles) == each.root == straight_root([leaf_hash(e) for e in entries])
        for index, entry in enumerate(entries):
            proof = inclusion_proof(index, each.size, tiles)
            check_inclusion(leaf_hash(entry), index=index, size=each.size, proof=proof, root=each.root)
        if old.size:
            proof = consistency_proof(old.size, each.size, tiles)
            check_consistency(old.size, old.root, each.size, each.root, proof=proof)
        else:
            assert old.root == EMPTY_ROOT


def test_every_tile_and_bundle_has_a_path_and_the_hashes_of_its_entries(vectors: Path):
    root = vectors / "tessera-log"
    files = sorted(path for path in (root / "tile").rglob("*") if path.is_file())
    assert len(files) == 30
    for file in files:
        path = str(file.relative_to(root))
        named = parse_tile_path(path)
        assert named is not None
        level, _, width = named
        if level == 0:
            bundle = root / path.replace("tile/0/", "tile/entries/")
            entries = split_entries(bundle.read_bytes(), width=width, path=path)
            assert split_hashes(file.read_bytes(), width=width, path=path) == [leaf_hash(e) for e in entries]


def test_another_log_is_not_believed(fetch: Fetch):
    with pytest.raises(VerificationError) as caught:
        Checkpoint.open(fetch("checkpoint") or b"", LOG)
    assert caught.value.check == "E_LOG_KEY"
