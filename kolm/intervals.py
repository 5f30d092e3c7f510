"""Intervals and tests, as closed forms over numbers.

The bootstrap resamples whole clusters (rows that share an image are not independent) and draws from
SHAKE-256, so that every library version and every language gets the same replicates.
specs/formats/kscore.md 5 gives formulae and vectors.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]

REPLICATES = 2000
Z95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""

_LABEL = b"kolm-resample/1\n"
_BLOCK = 1 << 21  # numbers held at once while resampling


def wilson(successes: float, n: int) -> Interval:
    """Return the 95 % Wilson score interval of a share; (0, 1) when nothing was counted."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At the ends the bound is exact; rounding must not move it inside.
    return (0.0 if successes == 0 else max(0.0, centre - half)), (
        1.0 if successes == n else min(1.0, centre + half)
    )


def mcnemar(fixed: int, broken: int) -> float:
    """Return the exact two-sided p of a paired comparison: of `fixed + broken` changes, this split."""
    changed = fixed + broken
    tail = sum(math.comb(changed, k) for k in range(min(fixed, broken) + 1))
    return min(1.0, 2 * tail / (1 << changed))


def rank(per_mille: int, n: int) -> int:
    """Return the 1-based nearest rank of a quantile among n values: ceil(per_mille * n / 1000)."""
    return max(1, -(-per_mille * n // 1000))


def quantile(values: Sequence[int], per_mille: int) -> int:
    """Return a quantile by nearest rank: always one of the values."""
    return sorted(values)[rank(per_mille, len(values)) - 1]


def percentile_interval(values: npt.NDArray[np.float64]) -> Interval:
    """Return the 2.5 % and 97.5 % quantiles by nearest rank."""
    ordered = np.sort(values)
    n = len(ordered)
    return float(ordered[rank(25, n) - 1]), float(ordered[rank(975, n) - 1])


def draw(seed: int, replicate: int, n: int) -> npt.NDArray[np.uint64]:
    """Draw n cluster indices below n for one replicate: `u * n >> 32` for each 4-byte word u of SHAKE-256."""
    start = _LABEL + seed.to_bytes(8, "big") + replicate.to_bytes(8, "big")
    words = np.frombuffer(hashlib.shake_256(start).digest(4 * n), dtype=">u4").astype(np.uint64)
    return (words * np.uint64(n)) >> np.uint64(32)


def resample(n: int, *, seed: int, replicates: int = REPLICATES) -> Iterator[npt.NDArray[np.int64]]:
    """Yield blocks of cluster counts [replicates in this block, n]: how often each cluster was drawn."""
    step = max(1, _BLOCK // max(1, n))
    for first in range(0, replicates, step):
        counts = [
            np.bincount(draw(seed, replicate, n).astype(np.int64), minlength=n)
            for replicate in range(first, min(first + step, replicates))
        ]
        yield np.stack(counts).astype(np.int64)


def clusters_of(images: Sequence[Sequence[str]], ids: Sequence[str]) -> list[str]:
    """Name the cluster of each row: rows that share an image, directly or through others, share a name.

    The name is the smallest image digest of the cluster, or the row's own id where it has no image.
    """
    parent: dict[str, str] = {}

    def root(image: str) -> str:
        while parent.setdefault(image, image) != image:
            parent[image] = parent[parent[image]]
            image = parent[image]
        return image

    for row in images:
        for image in row:
            low, high = sorted((root(row[0]), root(image)))
            parent[high] = low
    return [root(row[0]) if row else f"row:{row_id}" for row, row_id in zip(images, ids, strict=True)]
