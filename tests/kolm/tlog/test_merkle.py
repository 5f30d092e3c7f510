"""The Merkle tree against the vectors of transparency-dev/merkle, and its laws."""

import base64
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kolm.errors import VerificationError
from kolm.tlog.merkle import (
    EMPTY_ROOT,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
)
from kolm.tlog.tiles import TileReader
from tests.kolm.tlog.logs import straight_files, straight_root
from tests.logs import tree_root

HASHES = st.binary(min_size=32, max_size=32)


def raw(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def accepted(check, *arguments, code: str, **options) -> bool:
    try:
        check(*arguments, **options)
    except VerificationError as err:
        return (err.check, bool(err.hint)) != (code, True)
    return True


def included(leaf: bytes, **options) -> bool:
    return accepted(check_inclusion, leaf, code="E_LOG_INCLUSION", **options)


def consistent(*arguments, proof: list[bytes]) -> bool:
    return accepted(check_consistency, *arguments, proof=proof, code="E_LOG_CONSISTENCY")


def test_all_196_vectors(vectors: Path):
    inclusion = sorted((vectors / "merkle/inclusion").rglob("*.json"))
    consistency = sorted((vectors / "merkle/consistency").rglob("*.json"))
    assert (len(inclusion), len(consistency)) == (98, 98)
    for path in inclusion:
        said = json.loads(path.read_text())
        proof = [raw(each) for each in said.get("proof") or []]
        found = included(
            raw(said["leafHash"]),
            index=said.get("leafIdx", 0),
            size=said.get("treeSize", 0),
            proof=proof,
            root=raw(said["root"]),
        )
        assert found is not said["wantErr"], path
    for path in consistency:
        said = json.loads(path.read_text())
        proof = [raw(each) for each in said.get("proof") or []]
        sizes = said.get("size1", 0), said.get("size2", 0)
        found = consistent(sizes[0], raw(said["root1"]), sizes[1], raw(said["root2"]), proof=proof)
        assert found is not said["wantErr"], path


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[bytes], int]:
    """Entries of a log (every size about a tile's edge is likely) and the place of one of them."""
    size = draw(st.integers(1, 40) | st.integers(250, 262) | st.integers(510, 515))
    return [b"%d" % at for at in range(size)], draw(st.integers(0, size - 1))


@given(trees())
def test_proofs_from_tiles_verify_and_the_root_is_the_straight_one(tree):
    entries, index = tree
    size, leaves = len(entries), [leaf_hash(entry) for entry in entries]
    tiles = TileReader(straight_files(entries).get, size)
    root = tree_root(size, tiles)
    assert root == straight_root(leaves)
    assert [tiles(0, at) for at in range(size)] == leaves
    check_inclusion(
        leaves[index], index=index, size=size, proof=inclusion_proof(index, size, tiles), root=root
    )
    old = straight_root(leaves[: index + 1])
    check_consistency(index + 1, old, size, root, proof=consistency_proof(index + 1, size, tiles))


@given(trees(), st.data())
def test_an_inclusion_proof_shows_one_place_only(tree, data):
    entries, index = tree
    size, leaf = len(entries), leaf_hash(entries[index])
    tiles = TileReader(straight_files(entries).get, size)
    proof, root = inclusion_proof(index, size, tiles), tree_root(size, tiles)
    other = data.draw(HASHES)
    assert not included(other, index=index, size=size, proof=proof, root=root)
    assert not included(leaf, index=index, size=size, proof=proof, root=other)
    assert not included(leaf, index=index, size=size, proof=[*proof, other], root=root)
    elsewhere = data.draw(st.integers(-2, 2 * size).filter(lambda at: at != index))
    assert not included(leaf, index=elsewhere, size=size, proof=proof, root=root)
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not included(leaf, index=index, size=size, proof=proof[:at] + proof[at + 1 :], root=root)
        changed = [*proof[:at], other, *proof[at + 1 :]]
        assert not included(leaf, index=index, size=size, proof=changed, root=root)
        short = [*proof[:at], proof[at][:31], *proof[at + 1 :]]
        assert not included(leaf, index=index, size=size, proof=short, root=root)


@given(trees(), st.data())
def test_a_consistency_proof_shows_one_pair_of_logs_only(tree, data):
    entries, index = tree
    size, leaves, smaller = len(entries), [leaf_hash(entry) for entry in entries], index + 1
    tiles = TileReader(straight_files(entries).get, size)
    old, root, other = straight_root(leaves[:smaller]), straight_root(leaves), data.draw(HASHES)
    proof = consistency_proof(smaller, size, tiles)
    assert not consistent(smaller, other, size, root, proof=proof)
    assert not consistent(smaller, old, size, other, proof=proof)
    assert not consistent(smaller, old, size, root, proof=[*proof, other])
    assert not consistent(0, EMPTY_ROOT, size, root, proof=[])
    if smaller < size:
        assert not consistent(size, root, smaller, old, proof=proof)
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not consistent(smaller, old, size, root, proof=[*proof[:at], other, *proof[at + 1 :]])
        assert not consistent(smaller, old, size, root, proof=proof[:at] + proof[at + 1 :])


def test_a_node_is_no_leaf():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    root = node_hash(left, right)
    assert not included(leaf_hash(left + right), index=0, size=1, proof=[], root=root)
    assert not included(root, index=0, size=2, proof=[], root=root)
