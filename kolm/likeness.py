"""Pictures that are nearly the same: re-encoded, resized or cropped copies of one picture.

Two rules, each with its own bound. A perceptual hash of 256 bits (imagehash's pHash) finds re-encoded and
resized copies; hashes of 64 bits take distinct documents for copies. A crop shifts every frequency, so it is
found by where its rows and columns lie in the other picture's, and believed only when the pixels agree
there. What this finds is a question to a person, not a verdict (specs/formats/leaks.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

HASH_BITS = 256
MAX_DISTANCE = 16
"""Bits in which the hashes of one picture and its copy may differ."""

MIN_CORRELATION = 0.9
"""Least correlation of row and of column profiles for a crop to be looked at."""

MAX_DIFFERENCE = 0.09
"""Largest difference of aligned pixels, over the ink of either, for a crop to be believed."""

_SIDES = (180, 640)
"""Longest side, in pixels, of the views that are compared; each is a halving of the picture."""
_INK = 40.0
_LEAST_INK = 50
_LEAST_SIDE = 16

Floats = npt.NDArray[np.float32]
Kind = Literal["hash", "crop"]


@dataclass(frozen=True)
class View:
    """A picture at one halving: grey values, and how much each row and column changes along itself."""

    grey: Floats
    rows: Floats
    columns: Floats


@dataclass(frozen=True)
class Likeness:
    """What is compared of one picture."""

    bits: npt.NDArray[np.uint8]
    """pHash, 32 bytes."""
    views: dict[int, View]
    """By how often each side was halved."""


class Alike(NamedTuple):
    """Two pictures that look like one, by their places in the two lists."""

    first: int
    second: int
    kind: Kind


def likeness_of(image: Image.Image) -> Likeness:
    """Measure a picture once."""
    import imagehash

    bits = np.packbits(imagehash.phash(image, hash_size=16).hash.reshape(-1))
    grey, views = image.convert("L"), {}
    longest = max(grey.size)
    for halvings in range(16):
        side = longest / (1 << halvings)
        if halvings and side < _SIDES[0]:
            break
        if side <= _SIDES[1]:
            views[halvings] = _view(grey, 1 << halvings)
    return Likeness(bits, views)


def alike(first: Sequence[Likeness], second: Sequence[Likeness]) -> list[Alike]:
    """Return the pairs, one picture of each list, that look like one picture; each pair once."""
    found = {(i, j): Alike(i, j, "hash") for i, j in _close_hashes(first, second)}
    for i, j in _candidates(first, second):
        if (i, j) not in found and _is_crop(first[i], second[j]):
            found[i, j] = Alike(i, j, "crop")
    return [found[pair] for pair in sorted(found)]


def groups(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each of `count` things the smallest member of its group, pairs joined transitively."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        low, high = sorted((root(i), root(j)))
        parent[high] = low
    return [root(i) for i in range(count)]


def _view(grey: Image.Image, factor: int) -> View:
    small = grey.reduce(factor) if factor > 1 else grey
    values = np.asarray(small, dtype=np.float32)
    rows = np.abs(np.diff(values, axis=0, prepend=values[:1])).sum(axis=1)
    columns = np.abs(np.diff(values, axis=1, prepend=values[:, :1])).sum(axis=0)
    return View(values, rows.astype(np.float32), columns.astype(np.float32))


def _close_hashes(first: Sequence[Likeness], second: Sequence[Likeness]) -> Iterator[tuple[int, int]]:
    if not first or not second:
        return
    other = np.stack([picture.bits for picture in second])
    for i, picture in enumerate(first):
        distances = np.bitwise_count(other ^ picture.bits).sum(axis=1)
        for j in np.flatnonzero(distances <= MAX_DISTANCE):
            yield i, int(j)


def _candidates(first: Sequence[Likeness], second: Sequence[Likeness]) -> Iterator[tuple[int, int]]:
    """Yield the pairs whose profiles fit: each picture is sought in the larger ones of the other list."""
    seen = set()
    for swapped, (inner, outer) in enumerate(((first, second), (second, first))):
        for halvings in {h for picture in inner for h in picture.views}:
            holders = [k for k, picture in enumerate(outer) if halvings in picture.views]
            if not holders:
                continue
            rows = _Profiles([outer[k].views[halvings].rows for k in holders])
            columns = _Profiles([outer[k].views[halvings].columns for k in holders])
            for i, picture in enumerate(inner):
                if halvings not in picture.views:
                    continue
                view = picture.views[halvings]
                fits = np.minimum(rows.best(view.rows), columns.best(view.columns)) >= MIN_CORRELATION
                for place in np.flatnonzero(fits):
                    pair = (holders[place], i) if swapped else (i, holders[place])
                    if pair not in seen:
                        seen.add(pair)
                        yield pair


class _Profiles:
    """Profiles of many pictures, in which a shorter one is sought by correlation."""

    def __init__(self, profiles: Sequence[Floats]) -> None:
        self._lengths = np.array([len(p) for p in profiles])
        width = int(self._lengths.max())
        self._size = 1 << (2 * width - 1).bit_length()
        padded = np.zeros((len(profiles), width), dtype=np.float64)
        for row, profile in zip(padded, profiles, strict=True):
            row[: len(profile)] = profile
        self._spectrum = np.fft.rfft(padded, self._size)
        zero = np.zeros((len(profiles), 1))
        self._sums = np.concatenate([zero, padded.cumsum(axis=1)], axis=1)
        self._squares = np.concatenate([zero, (padded**2).cumsum(axis=1)], axis=1)

    def best(self, sought: Floats) -> npt.NDArray[np.float64]:
        """Return for each profile the best correlation with `sought` inside it; 0 where it is shorter."""
        n = len(sought)
        width = self._sums.shape[1] - 1
        if n > width or n < _LEAST_SIDE:
            return np.zeros(len(self._lengths))
        centred = sought.astype(np.float64) - float(sought.mean())
        product = np.fft.irfft(self._spectrum * np.conj(np.fft.rfft(centred, self._size)), self._size)
        product = product[:, : width - n + 1]
        sums = self._sums[:, n:] - self._sums[:, :-n]
        squares = self._squares[:, n:] - self._squares[:, :-n]
        spread = np.sqrt(np.maximum(squares - sums**2 / n, 1e-6)) * (np.linalg.norm(centred) + 1e-6)
        correlation = product / spread
        shifts = np.arange(width - n + 1)
        correlation[shifts[None, :] > (self._lengths - n)[:, None]] = 0
        result: npt.NDArray[np.float64] = correlation.max(axis=1)
        return result


def _is_crop(a: Likeness, b: Likeness) -> bool:
    """Say whether the pixels of one picture agree with part of the other, in any view both have."""
    for halvings in sorted(a.views.keys() & b.views.keys(), reverse=True):
        one, two = a.views[halvings], b.views[halvings]
        down, along = _shift(one.rows, two.rows), _shift(one.columns, two.columns)
        if _difference(one.grey, two.grey, down=down, along=along) <= MAX_DIFFERENCE:
            return True
    return False


def _shift(a: Floats, b: Floats) -> int:
    """Return where `b` begins in `a`; negative where `a` begins in `b`."""
    if len(b) > len(a):
        return -_shift(b, a)
    single = _Profiles([a])
    n, centred = len(b), b.astype(np.float64) - float(b.mean())
    product = np.correlate(a.astype(np.float64), centred, "valid")
    sums = single._sums[0, n:] - single._sums[0, :-n]
    squares = single._squares[0, n:] - single._squares[0, :-n]
    return int(np.argmax(product / np.sqrt(np.maximum(squares - sums**2 / n, 1e-6))))


def _difference(a: Floats, b: Floats, *, down: int, along: int) -> float:
    """Return the mean difference over the ink of two aligned pictures, relative to the ink of the first.

    The best of nine alignments, one pixel around the shift; infinite where they hardly overlap.
    """
    best = np.inf
    for y in (down - 1, down, down + 1):
        for x in (along - 1, along, along + 1):
            one = a[max(y, 0) :, max(x, 0) :]
            two = b[max(-y, 0) :, max(-x, 0) :]
            height, width = min(one.shape[0], two.shape[0]), min(one.shape[1], two.shape[1])
            if height >= _LEAST_SIDE and width >= _LEAST_SIDE:
                best = min(best, _ink_difference(one[:height, :width], two[:height, :width]))
    return float(best)


def _ink_difference(one: Floats, two: Floats) -> float:
    paper = np.median(one)
    ink = (np.abs(one - paper) > _INK) | (np.abs(two - paper) > _INK)
    if int(ink.sum()) < _LEAST_INK:
        return float("inf")
    contrast = float(np.abs(one - paper)[ink].mean())
    return float(np.abs(one - two)[ink].mean()) / (contrast + 1e-6)
