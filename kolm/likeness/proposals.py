"""Which pairs of pictures may be copies: profiles of rows and columns, small maps, and a hash."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from kolm.likeness.picture import MAP, PROFILE, Floats, Likeness

Ints = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
Lie = npt.NDArray[np.float64]
"""(2, 3): where points of one picture lie in another, both from 0 to 1."""

MAX_BITS = 16
"""Bits of 256 in which the hashes of a picture and its copy may differ to be looked at."""

MIN_PROFILE = 0.82
"""Least correlation of the profiles of rows, and of columns, for a pair to be looked at."""

MIN_MAP = (0.93, 0.945)
"""Least correlation of the small maps, as they are and without what the profiles already said."""

MAX_BLOCKS = 0.35
"""Largest difference of the blocks of the maps that differ most, relative to what they show."""

_SAMPLES, _CELLS = 64, 24
_CUTS = np.arange(8) * 0.015
"""Shares of a side that a crop may take away, as they are tried."""
_BLOCK, _BLOCK_NOISE = 4, 50.0
_CHUNK = 4096

# The crops that are tried of every side: (beginning, end) as shares of it.
_CROPS = [(float(begin), 1 - float(end)) for begin in _CUTS for end in _CUTS]


@cache
def _weights(length: int, samples: int, *, blur: float) -> Floats:
    """Return for each crop how its samples are made of a whole profile: (crops, length, samples)."""
    begin, end = np.array(_CROPS, dtype=np.float32).T[..., None]
    centres = (begin + (end - begin) * (np.arange(samples) + 0.5) / samples) * length  # (crops, samples)
    width = (end - begin) * length / samples * blur
    away = np.abs(np.arange(length)[None, :, None] + 0.5 - centres[:, None, :])
    weights = np.maximum(0, 1 - away / width[:, None, :])
    normal: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normal


def _profile_weights() -> Floats:
    return _weights(PROFILE, _SAMPLES, blur=1.6)


def _map_weights() -> Floats:
    return _weights(MAP, _CELLS, blur=1.0)


def proposed(first: Sequence[Likeness], second: Sequence[Likeness]) -> Iterator[tuple[int, int, Lie]]:
    """Yield the pairs that may be alike, and how they may lie on each other."""
    one, two = (np.stack([picture.profiles for picture in pictures]) for pictures in (first, second))
    fits = [_best(one[:, axis], two[:, axis]) for axis in (0, 1)]
    close = (fits[0][0] >= MIN_PROFILE) & (fits[1][0] >= MIN_PROFILE)
    hashes = _close_hashes(first, second)
    rows, columns = np.nonzero(close | hashes)
    one_maps, two_maps = (np.stack([picture.maps for picture in pictures]) for pictures in (first, second))
    for at in range(0, len(rows), _CHUNK):
        i, j = rows[at : at + _CHUNK], columns[at : at + _CHUNK]
        down, along = ((crop_one[i, j], crop_two[i, j]) for _, crop_one, crop_two in fits)
        laid = _maps_agree(one_maps[i], two_maps[j], down=down, along=along)
        for k in np.flatnonzero(laid | hashes[i, j]):
            yield int(i[k]), int(j[k]), _lie(along=(along[0][k], along[1][k]), down=(down[0][k], down[1][k]))


def _best(one: Floats, two: Floats) -> tuple[Floats, Ints, Ints]:
    """Return for each pair the best correlation of profiles, and which crop of either gives it."""
    inner, crop_two = _best_crop(one, two)
    outer, crop_one = (found.T for found in _best_crop(two, one))
    whole = np.zeros_like(crop_two)
    first_is_cropped = outer > inner
    return (
        np.maximum(inner, outer),
        np.where(first_is_cropped, crop_one, whole),
        np.where(first_is_cropped, whole, crop_two),
    )


def _best_crop(whole: Floats, cropped: Floats) -> tuple[Floats, Ints]:
    """Correlate whole profiles with every crop of others -> best (whole, cropped), and which crop it was."""
    crops_of_profiles = _profile_weights()
    sought = _normal(whole @ crops_of_profiles[0])
    best = np.full((len(whole), len(cropped)), -1, dtype=np.float32)
    crops = np.zeros(best.shape, dtype=np.intp)
    for crop, weights in enumerate(crops_of_profiles):
        found = sought @ _normal(cropped @ weights).T
        better = found > best
        np.copyto(best, found, where=better)
        np.copyto(crops, crop, where=better)
    return best, crops


def _normal(profiles: Floats) -> Floats:
    """Make profiles (n, kinds, samples) vectors whose product is their mean correlation."""
    centred = profiles - profiles.mean(axis=-1, keepdims=True)
    size = np.linalg.norm(centred, axis=-1, keepdims=True)
    flat: Floats = (centred / np.maximum(size, 3.0)).reshape(len(profiles), -1)
    return flat / np.float32(np.sqrt(profiles.shape[1]))


def _close_hashes(first: Sequence[Likeness], second: Sequence[Likeness]) -> Flags:
    other = np.stack([picture.bits for picture in second])
    distances = [np.bitwise_count(other ^ picture.bits).sum(axis=1) for picture in first]
    return np.stack(distances) <= MAX_BITS


def _maps_agree(one: Floats, two: Floats, *, down: tuple[Ints, Ints], along: tuple[Ints, Ints]) -> Flags:
    """Say of each pair whether its maps (n, 2, 64, 64), each with its crop, correlate."""
    weights = _map_weights()
    a, b = (
        weights[rows].transpose(0, 2, 1)[:, None] @ maps @ weights[columns][:, None]
        for maps, rows, columns in ((one, down[0], along[0]), (two, down[1], along[1]))
    )
    a, b = (maps - maps.mean(axis=(2, 3), keepdims=True) for maps in (a, b))
    agree: Flags = (_correlation(a, b) >= MIN_MAP[0]) & (_differing(a[:, 0], b[:, 0]) <= MAX_BLOCKS)
    a, b = (maps - maps.mean(axis=2, keepdims=True) - maps.mean(axis=3, keepdims=True) for maps in (a, b))
    agree &= _correlation(a, b) >= MIN_MAP[1]
    return agree


def _differing(a: Floats, b: Floats) -> Floats:
    """Return how much maps of light (n, 24, 24) differ in the blocks that differ most, 6 of 36."""
    side = _CELLS // _BLOCK
    blocks = (len(a), side, _BLOCK, side, _BLOCK)
    shown = a.reshape(blocks).var(axis=(2, 4)) + b.reshape(blocks).var(axis=(2, 4)) + _BLOCK_NOISE
    apart = ((a - b) ** 2).reshape(blocks).mean(axis=(2, 4)) / shown
    found: Floats = np.sort(apart.reshape(len(a), -1), axis=1)[:, -side:].mean(axis=1)
    return found


def _correlation(a: Floats, b: Floats) -> Floats:
    """Mean correlation of the two kinds of centred maps."""
    size = np.sqrt((a * a).sum(axis=(2, 3)) * (b * b).sum(axis=(2, 3)) + 25)
    found: Floats = ((a * b).sum(axis=(2, 3)) / size).mean(axis=1)
    return found


def _lie(*, along: tuple[int, int], down: tuple[int, int]) -> Lie:
    """Return the map from the first picture to the second that two crops stand for."""
    x, y = (_map_of(_CROPS[one], _CROPS[two]) for one, two in (along, down))
    return np.array([[x[0], 0, x[1]], [0, y[0], y[1]]])


def _map_of(one: tuple[float, float], two: tuple[float, float]) -> tuple[float, float]:
    """Scale and shift: the points of crop `one` of the first side are those of crop `two` of the second."""
    scale = (two[1] - two[0]) / (one[1] - one[0])
    return scale, two[0] - scale * one[0]
