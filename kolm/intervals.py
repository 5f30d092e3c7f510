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
FLIPS = 10_000
Z95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""

Z80 = 0.8416212335729143
"""The 80 % point of the normal distribution."""

_LABEL = b"kolm-resample/1\n"
_FLIP_LABEL = b"kolm-sign-flip/1\n"
_FLIPS_AT_ONCE = 1000
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
    changed, term, tail = fixed + broken, 1, 1
    for k in range(min(fixed, broken)):
        term = term * (changed - k) // (k + 1)  # C(changed, k + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << changed))


def mcnemar_chi2(fixed: int, broken: int) -> float:
    """Return McNemar's statistic (Psychometrika 12, 1947), uncorrected; 0 where nothing changed."""
    changed = fixed + broken
    return (fixed - broken) ** 2 / changed if changed else 0.0


def sign_flip(differences: Sequence[int], *, seed: int, flips: int = FLIPS) -> float:
    """Return the two-sided p of paired differences: the share of random sign patterns as far from 0.

    `differences` are sums over clusters, ordered by cluster, in whole numbers. The observed pattern counts as
    one of them, so p is never 0. Signs are bits of SHAKE-256 (specs/formats/kscore.md 5.5).
    """
    values = np.array([value for value in differences if value], dtype=np.float64)
    if not len(values):
        return 1.0
    observed = abs(values.sum())
    width = -(-len(values) // 8)
    as_far = 1
    for first in range(0, flips, _FLIPS_AT_ONCE):
        count = min(_FLIPS_AT_ONCE, flips - first)
        start = _FLIP_LABEL + seed.to_bytes(8, "big") + first.to_bytes(8, "big")
        stream = np.frombuffer(hashlib.shake_256(start).digest(count * width), dtype=np.uint8)
        for some in np.array_split(stream.reshape(count, width), -(-count * len(values) // _BLOCK)):
            flipped = np.unpackbits(some, axis=1, count=len(values))
            # Whole numbers below 2^53 are exact as floats, and so are their sums, in any order.
            sums = values.sum() - 2 * (flipped.astype(np.float64) @ values)
            as_far += int((np.abs(sums) >= observed).sum())
    return as_far / (flips + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for being several (Holm 1979), in the order given, none above 1."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def detectable_gain(rows: int, *, discordant: float) -> float | None:
    """Return the smallest gain in accuracy that McNemar's test finds in 80 of 100 runs, at 5 %.

    `discordant` is the share of rows that one of the two models answers right and the other wrong. None when
    no gain within that share can be found with so few rows.
    """
    low, high = 0.0, discordant
    if rows_needed(high, discordant=discordant) > rows:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rows_needed(middle, discordant=discordant) <= rows else (middle, high)
    return high


def rows_needed(gain: float, *, discordant: float) -> float:
    """Return the rows with which McNemar's test finds a gain in 80 of 100 runs, at 5 %.

    Normal approximation of R. J. Connor, Biometrics 43 (1987) 207-211.
    """
    if gain <= 0:
        return math.inf
    spread = math.sqrt(max(0.0, discordant - gain * gain))
    return ((Z95 * math.sqrt(discordant) + Z80 * spread) / gain) ** 2


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


def clusters_of(keys: Sequence[Sequence[str]], ids: Sequence[str]) -> list[str]:
    """Name the cluster of each row: rows that share a key, directly or through others, share a name.

    Each row has a key of its own besides, `row:` and its id. The name is the smallest key of the cluster.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    own = [f"row:{row_id}" for row_id in ids]
    for name, row in zip(own, keys, strict=True):
        for key in row:
            low, high = sorted((root(name), root(key)))
            parent[high] = low
    return [root(name) for name in own]
