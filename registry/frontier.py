"""The right edge of a growing log: what appending needs of the tree, and the tiles that it completes."""

from collections.abc import Iterator
from typing import Self

from kolm.tlog.merkle import EMPTY_ROOT, leaf_hash, node_hash
from kolm.tlog.tiles import (
    HEIGHT,
    WIDTH,
    Fetch,
    fetch_tile,
    join_entries,
    split_entries,
    split_hashes,
    tile_path,
)

File = tuple[str, bytes]
"""A path of the log and the bytes that belong there."""


class Frontier:
    """The last, partial tile of every level and the last, partial bundle of entries."""

    def __init__(self) -> None:
        self.size = 0
        self._entries: list[bytes] = []
        self._levels: list[list[bytes]] = []

    @classmethod
    def read(cls, fetch: Fetch, size: int) -> Self:
        """Read the edge of a log of `size` entries from its tiles. Raises ArtifactError (E_LOG_TILE)."""
        found = cls()
        found.size = size
        width = size % WIDTH
        if width:
            data, held, path = fetch_tile(fetch, None, size // WIDTH, width)
            found._entries = split_entries(data, width=held, path=path)[:width]
        level = 0
        while size >> (HEIGHT * level):
            found._levels.append([])
            index, width = divmod(size >> (HEIGHT * level), WIDTH)
            if width:
                data, held, path = fetch_tile(fetch, level, index, width)
                found._levels[level] = split_hashes(data, width=held, path=path)[:width]
            level += 1
        return found

    def append(self, entry: bytes) -> Iterator[File]:
        """Add an entry; yield the tiles that it completes."""
        self._entries.append(entry)
        index = self.size // WIDTH
        self.size += 1
        if len(self._entries) == WIDTH:
            yield tile_path(None, index), join_entries(self._entries)
            self._entries = []
        yield from self._push(0, leaf_hash(entry))

    def partial(self) -> Iterator[File]:
        """Yield the tiles of the right edge as they are at this size."""
        if self._entries:
            yield tile_path(None, self.size // WIDTH, len(self._entries)), join_entries(self._entries)
        for level, hashes in enumerate(self._levels):
            if hashes:
                index = (self.size >> (HEIGHT * level)) // WIDTH
                yield tile_path(level, index, len(hashes)), b"".join(hashes)

    def root(self) -> bytes:
        """Return the root over all entries (RFC 6962 2.1)."""
        found: bytes | None = None
        for hashes in self._levels:
            for subtree in _subtrees(hashes):
                found = subtree if found is None else node_hash(subtree, found)
        return EMPTY_ROOT if found is None else found

    def _push(self, level: int, found: bytes) -> Iterator[File]:
        if level == len(self._levels):
            self._levels.append([])
        hashes = self._levels[level]
        hashes.append(found)
        if len(hashes) == WIDTH:
            index = (self.size >> (HEIGHT * level)) // WIDTH - 1
            yield tile_path(level, index), b"".join(hashes)
            self._levels[level] = []
            yield from self._push(level + 1, next(_subtrees(hashes)))


def _subtrees(hashes: list[bytes]) -> Iterator[bytes]:
    """Yield the roots of the complete subtrees that these hashes make, smallest and rightmost first."""
    end, count = len(hashes), len(hashes)
    while count:
        width = count & -count
        row = hashes[end - width : end]
        while len(row) > 1:
            row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
        yield row[0]
        end, count = end - width, count - width
