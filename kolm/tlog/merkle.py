"""The Merkle tree of RFC 6962 over SHA-256: roots, inclusion and consistency, checked and computed.

Hashes are 32 bytes. Checking follows RFC 9162 2.1.3.2 and 2.1.4.2 step by step; computing asks a reader for
hashes of complete subtrees, which is what tiles hold.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

from kolm.errors import VerificationError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Subtree = Callable[[int, int], bytes]
"""(height, index) -> the hash over leaves index * 2^height up to (index + 1) * 2^height."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry (RFC 6962 2.1: a leaf is marked 0x00)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees (RFC 6962 2.1: a node is marked 0x01)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def check_inclusion(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf hash stands at `index` of the tree of `size` leaves with this root.

    RFC 9162 2.1.3.2. Raises VerificationError (E_LOG_INCLUSION).
    """
    if any(len(found) != HASH_BYTES for found in (leaf, *proof)):
        raise _not_included("a hash does not have 32 bytes")
    if not 0 <= index < size:
        raise _not_included(f"entry {index} is not in a log of {size}")
    place, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise _not_included("the proof is too long")
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise _not_included("the proof is too short")
    if found != root:
        raise _not_included("the proof leads to another root")


def check_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, *, proof: Sequence[bytes]
) -> None:
    """Check that the tree of `new_size` leaves begins with the tree of `old_size`.

    RFC 9162 2.1.4.2. Nothing is consistent with an empty tree by proof: `old_size` is at least 1.
    Raises VerificationError (E_LOG_CONSISTENCY).
    """
    if any(len(found) != HASH_BYTES for found in proof):
        raise _not_consistent("a hash does not have 32 bytes")
    if not 0 < old_size <= new_size:
        raise _not_consistent(f"{old_size} and {new_size} entries cannot be compared")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise _not_consistent("two logs of one size differ")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise _not_consistent("the proof is too short")
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _not_consistent("the proof is too long")
        if place & 1 or place == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or new != new_root:
        raise _not_consistent("the proof does not lead to the later root")
    if old != old_root:
        raise _not_consistent("it was rewritten: the later tree does not begin with the earlier one")


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Return the proof of an entry, from the leaf's sibling upwards (RFC 6962 2.1.1)."""
    return [_range_hash(begin, end, subtree) for begin, end in _path(index, 0, size)]


def consistency_proof(old_size: int, new_size: int, subtree: Subtree) -> list[bytes]:
    """Return the proof that the first `old_size` leaves, at least one, are those of the smaller tree.

    RFC 6962 2.1.2.
    """
    return [_range_hash(begin, end, subtree) for begin, end in _subproof(old_size, 0, new_size, whole=True)]


def _range_hash(begin: int, end: int, subtree: Subtree) -> bytes:
    """Hash the leaves of a range that starts where a subtree of its size may start."""
    count = end - begin
    if count & (count - 1) == 0 and begin % count == 0:
        height = count.bit_length() - 1
        return subtree(height, begin >> height)
    middle = begin + _split(count)
    return node_hash(_range_hash(begin, middle, subtree), _range_hash(middle, end, subtree))


def _split(count: int) -> int:
    """Return the largest power of two below `count`, at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _path(index: int, begin: int, end: int) -> Iterator[tuple[int, int]]:
    if end - begin == 1:
        return
    middle = begin + _split(end - begin)
    if index < middle:
        yield from _path(index, begin, middle)
        yield middle, end
    else:
        yield from _path(index, middle, end)
        yield begin, middle


def _subproof(old: int, begin: int, end: int, *, whole: bool) -> Iterator[tuple[int, int]]:
    """Yield the ranges of SUBPROOF(old, D[begin:end], whole); `old` counts from leaf 0."""
    if old == end:
        if not whole:
            yield begin, end
        return
    middle = begin + _split(end - begin)
    if old <= middle:
        yield from _subproof(old, begin, middle, whole=whole)
        yield middle, end
    else:
        yield from _subproof(old, middle, end, whole=False)
        yield begin, middle


_HINT = "get the proof again from the log; if it stays wrong, keep it: it is evidence against the log"


def _not_included(reason: str) -> VerificationError:
    return VerificationError(f"not in the log: {reason}", check="E_LOG_INCLUSION", hint=_HINT)


def _not_consistent(reason: str) -> VerificationError:
    return VerificationError(
        f"the log is not shown to have only grown: {reason}", check="E_LOG_CONSISTENCY", hint=_HINT
    )
