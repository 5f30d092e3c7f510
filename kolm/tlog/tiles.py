"""Tiles: the tree and its entries as static files of 256 hashes or entries each (c2sp.org/tlog-tiles)."""

import re
from collections.abc import Callable, Iterable, Iterator

from kolm.errors import ArtifactError
from kolm.tlog.merkle import HASH_BYTES, node_hash

WIDTH = 256
HEIGHT = 8
KEPT_TILES = 64
"""Tiles that a reader keeps: more than a proof needs, however long the log."""

MAX_ENTRY = (1 << 16) - 1
"""Most bytes of an entry: its length is written in 16 bits."""

_PATH = re.compile(
    r"tile/(?P<level>entries|[0-9]|[1-5][0-9]|6[0-3])/(?P<index>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?\Z"
)

Fetch = Callable[[str], bytes | None]
"""Return the bytes at a path of the log, such as `tile/0/000.p/3`; None if there are none."""


def tile_path(level: int | None, index: int, width: int = WIDTH) -> str:
    """Return where a tile lies; level None is a bundle of entries, a width below 256 a partial tile."""
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    place = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{'entries' if level is None else level}/{place}{partial}"


def parse_tile_path(path: str) -> tuple[int | None, int, int] | None:
    """Return level, index and width of a tile's path; None for anything that `tile_path` does not write."""
    found = _PATH.match(path)
    if found is None:
        return None
    level = None if found["level"] == "entries" else int(found["level"])
    index = int(found["index"].replace("/", "").replace("x", ""))
    width = WIDTH if found["width"] is None else int(found["width"])
    named = (level, index, width)
    return named if 0 < width <= WIDTH and tile_path(*named) == path else None


def tile_width(level: int | None, index: int, size: int) -> int:
    """Return how many hashes (or entries) the tile holds in a log of `size` entries; 0 if it is not there."""
    held = size >> (HEIGHT * (level or 0))
    return max(0, min(WIDTH, held - index * WIDTH))


def split_hashes(data: bytes, *, width: int, path: str) -> list[bytes]:
    """Take a tile apart. Raises ArtifactError (E_LOG_TILE) for another width."""
    if len(data) != width * HASH_BYTES:
        raise _malformed(path, f"{len(data)} bytes are not {width} hashes")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def split_entries(data: bytes, *, width: int, path: str) -> list[bytes]:
    """Take a bundle of entries apart. Raises ArtifactError (E_LOG_TILE)."""
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) <= width:
        length = int.from_bytes(data[at : at + 2], "big")
        entry = data[at + 2 : at + 2 + length]
        if at + 2 > len(data) or len(entry) != length:
            raise _malformed(path, "an entry is cut off")
        entries.append(entry)
        at += 2 + length
    if len(entries) != width or at != len(data):
        raise _malformed(path, f"it does not hold {width} entries")
    return entries


def join_entries(entries: Iterable[bytes]) -> bytes:
    """Return the bytes of a bundle of entries, each of at most MAX_ENTRY bytes."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


class TileReader:
    """Reads hashes of complete subtrees out of a log's tiles, of which it keeps those that were used last."""

    def __init__(self, fetch: Fetch, size: int, *, kept: int = KEPT_TILES) -> None:
        self._fetch = fetch
        self._size = size
        self._kept = kept
        self._tiles: dict[tuple[int, int], list[list[bytes]]] = {}
        """Of each tile its hashes, then those of the complete subtrees over them, row by row."""

    def __call__(self, height: int, index: int) -> bytes:
        """Return the hash over leaves index * 2^height up to (index + 1) * 2^height.

        Raises ArtifactError (E_LOG_TILE), and whatever fetching raises.
        """
        level, inside = divmod(height, HEIGHT)
        tile, at = divmod(index, WIDTH >> inside)
        row = self._tile(level, tile)[inside]
        if at >= len(row):
            raise _malformed(tile_path(level, tile), "the log is too small for this subtree")
        return row[at]

    def _tile(self, level: int, index: int) -> list[list[bytes]]:
        rows = self._tiles.pop((level, index), None) or self._fetched(level, index)
        self._tiles[level, index] = rows
        if len(self._tiles) > self._kept:
            del self._tiles[next(iter(self._tiles))]
        return rows

    def _fetched(self, level: int, index: int) -> list[list[bytes]]:
        width = tile_width(level, index, self._size)
        data, held, path = fetch_tile(self._fetch, level, index, width)
        rows = [split_hashes(data, width=held, path=path)[:width]]
        for _ in range(HEIGHT - 1):
            last = rows[-1]
            rows.append([node_hash(last[i], last[i + 1]) for i in range(0, len(last) - 1, 2)])
        return rows


def read_entries(fetch: Fetch, begin: int, end: int, *, size: int) -> Iterator[bytes]:
    """Yield the entries from `begin` up to `end` of a log of `size`. Raises ArtifactError (E_LOG_TILE)."""
    for index in range(begin // WIDTH, -(-end // WIDTH)):
        width = tile_width(None, index, size)
        data, held, path = fetch_tile(fetch, None, index, width)
        entries = split_entries(data, width=held, path=path)
        yield from entries[max(0, begin - index * WIDTH) : end - index * WIDTH]


def fetch_tile(fetch: Fetch, level: int | None, index: int, width: int) -> tuple[bytes, int, str]:
    """Return a tile's bytes, its width and its path: the full tile where the partial one is gone.

    Raises ArtifactError (E_LOG_TILE) when neither is there, and whatever fetching raises.
    """
    for held in dict.fromkeys((width, WIDTH)):
        path = tile_path(level, index, held)
        data = fetch(path) if held else None
        if data is not None:
            return data, held, path
    raise _malformed(tile_path(level, index, width), "the log does not have it")


def _malformed(path: str, reason: str) -> ArtifactError:
    return ArtifactError(
        f"{path}: {reason}",
        check="E_LOG_TILE",
        hint="get it again from the log, which must serve it whole",
    )
