"""Paths of tiles, tiles of the wrong size, and what is asked for when a partial one is gone."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.errors import ArtifactError
from kolm.tlog.merkle import check_inclusion, inclusion_proof, leaf_hash
from kolm.tlog.tiles import (
    TileReader,
    join_entries,
    parse_tile_path,
    read_entries,
    split_entries,
    split_hashes,
    tile_path,
)
from tests.kolm.tlog.logs import straight_files, straight_root
from tests.logs import tree_root

NOT_PATHS = {
    "another folder": "tiles/0/000",
    "upwards": "tile/0/../000",
    "level with a zero": "tile/00/000",
    "level beyond the last": "tile/64/000",
    "two digits": "tile/0/00",
    "a group of zeros": "tile/0/x000/000",
    "x on the last group": "tile/0/x000",
    "no x on the first group": "tile/0/001/000",
    "empty partial": "tile/0/000.p/0",
    "full partial": "tile/0/000.p/256",
    "zero before the width": "tile/0/000.p/01",
    "more behind": "tile/0/000.p/1/2",
    "newline": "tile/0/000\n",
    "query": "tile/0/000?",
    "other digits": "tile/0/００１",
    "empty": "",
}


@given(st.none() | st.integers(0, 63), st.integers(0, 10**15 - 1), st.integers(1, 256))
def test_a_path_names_one_tile(level, index, width):
    assert parse_tile_path(tile_path(level, index, width)) == (level, index, width)


def test_the_paths_of_the_specification():
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(None, 0, 3) == "tile/entries/000.p/3"


@pytest.mark.parametrize("defect", NOT_PATHS)
def test_what_is_no_path(defect: str):
    assert parse_tile_path(NOT_PATHS[defect]) is None


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_bundles_come_apart_as_they_were_joined(entries):
    assert split_entries(join_entries(entries), width=len(entries), path="p") == entries


BUNDLE = join_entries([b"one", b"two"])
WRONG_BUNDLES = {
    "one entry less": (BUNDLE[:5], 2),
    "one entry more": (BUNDLE, 1),
    "cut in an entry": (BUNDLE[:-1], 2),
    "cut in a length": (BUNDLE + b"\x00", 3),
    "a byte behind": (BUNDLE + b"\x00", 2),
}


@pytest.mark.parametrize("defect", WRONG_BUNDLES)
def test_a_bundle_that_is_not_what_it_should_be(defect: str):
    data, width = WRONG_BUNDLES[defect]
    with pytest.raises(ArtifactError, match=r"tile/entries/000: ") as caught:
        split_entries(data, width=width, path="tile/entries/000")
    assert caught.value.check == "E_LOG_TILE"


@pytest.mark.parametrize("length", [0, 31, 33, 64, 32 * 255])
def test_a_tile_of_another_width(length: int):
    with pytest.raises(ArtifactError) as caught:
        split_hashes(bytes(length), width=1 if length != 32 else 2, path="tile/0/000")
    assert caught.value.check == "E_LOG_TILE"


def test_the_full_tile_stands_for_a_partial_one_that_is_gone():
    entries = [b"%d" % at for at in range(700)]
    files = straight_files(entries)
    for size in (3, 100, 255):
        root = straight_root([leaf_hash(entry) for entry in entries[:size]])
        assert tree_root(size, TileReader(files.get, size)) == root
    for size in (3, 255, 256, 300, 511, 512):
        assert list(read_entries(files.get, 0, size, size=size)) == entries[:size]
    assert list(read_entries(files.get, 250, 520, size=700)) == entries[250:520]


@pytest.mark.parametrize(("kept", "enough"), [(64, True), (3, True), (1, False)])
def test_a_reader_of_the_whole_log_keeps_few_tiles(kept: int, enough: bool):
    """In order, three do for two levels: the tile at hand, the last one and the one above them."""
    entries = [b"%d" % at for at in range(1300)]
    files, asked = straight_files(entries), Counter[str]()

    def fetch(path: str) -> bytes | None:
        asked[path] += 1
        return files.get(path)

    reader, root = TileReader(fetch, 1300, kept=kept), straight_root([leaf_hash(entry) for entry in entries])
    for index in range(0, 1300, 50):
        proof = inclusion_proof(index, 1300, reader)
        check_inclusion(leaf_hash(entries[index]), index=index, size=1300, proof=proof, root=root)
    assert len(asked) == 7
    assert (max(asked.values()) == 1) is enough


def test_a_tile_that_is_not_there_is_named():
    with pytest.raises(ArtifactError, match=r"tile/0/000\.p/3: the log does not have it"):
        TileReader({}.get, 3)(0, 0)
