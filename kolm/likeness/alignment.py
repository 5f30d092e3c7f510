"""Whether two pictures show the same: one is laid over the other, and the tile that differs most decides."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from kolm.likeness.picture import NOISE, TILE, Floats, Likeness
from kolm.likeness.proposals import Lie

Kind = Literal["copy", "part"]
Flags = npt.NDArray[np.bool_]

MAX_DIFFERENCE = 0.45
"""Largest difference of the worst tile of a copy, relative to what the tile shows."""

MAX_ROUGH = 0.8
"""Largest difference of two small views, once aligned, for the large ones to be aligned."""

LEAST_OVERLAP = 0.5
"""Share of a view that the other must cover."""

WHOLE = 0.02
"""Furthest that a whole copy may be off, as a share of the sides: everything else is a part."""

_MARGIN = 0.012
_ROUGH_STEPS, _STEPS = 6, 4
_GAIN = (0.6, 1.6)
_BLUR = 0.65  # of a pixel, at twice the area


def judged(first: Likeness, second: Likeness, lie: Lie) -> tuple[Kind, float] | None:
    """Align two pictures, beginning from `lie`; return kind and difference when they are alike, else None.

    The order of the two makes no difference. Plain pictures are compared as wholes: their crops look like
    each other, so that neither `lie` nor an alignment far from the identity says anything.
    """
    plain, identity = first.plain or second.plain, np.eye(3)[:2]
    lie = identity if plain else lie
    if _order(second) < _order(first):
        first, second, lie = second, first, np.linalg.inv(np.vstack([lie, [0, 0, 1]]))[:2]
    lie = _aligned(first.small, second.small, lie, steps=_ROUGH_STEPS)
    if _difference(first.small, second.small, lie) > MAX_ROUGH:
        return None
    lie = _aligned(first.grey, second.grey, lie, steps=_STEPS)
    whole = bool(np.abs(lie - identity).max() <= WHOLE)
    if plain and not whole:
        lie, whole = identity, True
    worst = _worst_tile(first.colour, second.colour, lie)
    if worst > MAX_DIFFERENCE:
        return None
    return ("copy" if whole else "part"), round(worst, 3)


def _order(picture: Likeness) -> tuple[int, bytes]:
    """Order two pictures by what they show, so that it does not matter which list either is in."""
    return picture.colour.width * picture.colour.height, picture.colour.tobytes()


def _aligned(first: Image.Image, second: Image.Image, lie: Lie, *, steps: int) -> Lie:
    """Improve where `first` lies in `second`, both grey, with a gain and an offset, by Gauss and Newton.

    Lucas and Kanade, "An iterative image registration technique", 1981, with an affine map.
    """
    width, height = first.size
    wanted = np.asarray(first, dtype=np.float32)  # (height, width)
    x, y = _centres(first.size)
    for _ in range(steps):
        seen = np.asarray(_laid(second, lie, first.size), dtype=np.float32)
        covered = _covered(lie, first.size)
        if covered.mean() < LEAST_OVERLAP:
            break
        down, across = np.gradient(seen) * np.array([height, width], dtype=np.float32)[:, None, None]
        terms = (across * x, across * y, across, down * x, down * y, down, seen, np.ones_like(seen))
        jacobian = np.stack([(term * covered).reshape(-1) for term in terms])  # (8, pixels)
        error = ((wanted - seen) * covered).reshape(-1)
        squares = (jacobian @ jacobian.T).astype(np.float64)
        squares[np.diag_indices(6)] *= 1.001
        squares[np.diag_indices(8)] += 1e-3
        step = np.linalg.solve(squares, (jacobian @ error).astype(np.float64))
        lie = lie @ np.vstack([np.eye(3)[:2] + step[:6].reshape(2, 3), [0, 0, 1]])
        if np.abs(step[:6]).max() < 2e-4:
            break
    return lie


def _centres(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return the places of pixels along a row and along a column, from 0 to 1."""
    x, y = ((np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side) for side in size)
    return x[None, :], y[:, None]


def _laid(picture: Image.Image, lie: Lie, size: tuple[int, int]) -> Image.Image:
    """Return what of a picture lies under a view of `size`."""
    width, height = picture.size
    (a, b, c), (d, e, f) = lie
    matrix = (
        a * width / size[0], b * width / size[1], c * width,
        d * height / size[0], e * height / size[1], f * height,
    )  # fmt: skip
    return picture.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _covered(lie: Lie, size: tuple[int, int]) -> Flags:
    """Say which pixels of a view the other picture covers, leaving out its very edge."""
    x, y = _centres(size)
    along = lie[0, 0] * x + lie[0, 1] * y + lie[0, 2]
    down = lie[1, 0] * x + lie[1, 1] * y + lie[1, 2]
    low, high = _MARGIN, 1 - _MARGIN
    covered: Flags = (along > low) & (along < high) & (down > low) & (down < high)
    return covered


def _difference(first: Image.Image, second: Image.Image, lie: Lie) -> float:
    """Return the difference of two aligned grey views, relative to what the first shows."""
    covered = _covered(lie, first.size)
    if covered.mean() < LEAST_OVERLAP:
        return float("inf")
    one = np.asarray(first, dtype=np.float32)[covered]
    two = np.asarray(_laid(second, lie, first.size), dtype=np.float32)[covered]
    one, two = one - one.mean(), two - two.mean()
    gain = _gain(one, two)
    return float(((one - gain * two) ** 2).mean() / (one.var() + 1))


def _gain(one: Floats, two: Floats) -> float:
    """Return how much stronger one centred view is than the other: 1 for equal brightness."""
    return float(np.clip((one * two).sum() / max(float((two * two).sum()), 1.0), *_GAIN))


def _equally_sharp(first: Image.Image, second: Image.Image, lie: Lie) -> tuple[Image.Image, Image.Image]:
    """Blur the picture that shows less, and so shows it larger, as much as the other one is."""
    scale = float(np.sqrt(abs(np.linalg.det(lie[:, :2]))))
    if scale < 1:
        return first.filter(ImageFilter.GaussianBlur(_BLUR * (1 / scale**2 - 1) ** 0.5)), second
    return first, second.filter(ImageFilter.GaussianBlur(_BLUR * (scale**2 - 1) ** 0.5))


def _worst_tile(first: Image.Image, second: Image.Image, lie: Lie) -> float:
    """Return the largest difference of any tile, relative to what it shows in both, in colour.

    Tiles of which less than a third is covered are left out.
    """
    covered = _covered(lie, first.size)
    if covered.mean() < LEAST_OVERLAP:
        return float("inf")
    first, second = _equally_sharp(first, second, lie)
    one = np.asarray(first, dtype=np.float32)
    two = np.asarray(_laid(second, lie, first.size), dtype=np.float32)  # (height, width, 3)
    one, two = one - one[covered].mean(), two - two[covered].mean()
    two *= _gain(one[covered], two[covered])
    worst = 0.0
    for top in range(0, first.height, TILE):
        for left in range(0, first.width, TILE):
            tile = np.s_[top : top + TILE, left : left + TILE]
            seen = covered[tile]
            if seen.sum() < TILE * TILE / 3:
                continue
            a, b = one[tile][seen], two[tile][seen]  # (pixels, 3)
            shown = a.var(axis=0).sum() + b.var(axis=0).sum() + NOISE
            worst = max(worst, float(((a - b) ** 2).sum(axis=1).mean() / shown))
    return worst
