"""What is compared of one picture: small views, how light and detailed rows and columns are, a hash."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float32]

PROFILE, MAP, TILE = 128, 64, 12
"""Samples of a profile, cells along a map, and pixels along a tile of a view."""

NOISE = 300.0
"""Variance, summed over the colours, that re-encoding alone may leave in a tile."""

BLANK = 3.0
"""A picture whose colours deviate less from their mean, of 255, is blank."""

LEAST_TILES = 24
"""Tiles with something in them that a picture needs before a crop of it is looked for."""

_VIEW = 128
"""Longest side of the view that is judged, in pixels."""


@dataclass(frozen=True)
class Likeness:
    """What is compared of one picture."""

    colour: Image.Image
    """RGB, longest side 128 pixels."""
    grey: Image.Image
    small: Image.Image
    """Grey, a third of that size."""
    bits: npt.NDArray[np.uint8]
    """pHash, 32 bytes."""
    profiles: Floats
    """(axis, light or detail, 128): means along rows, and along columns."""
    maps: Floats
    """(light or detail, 64, 64)."""
    blank: bool
    plain: bool
    """Too little detail to tell a crop of it from another picture."""


def likeness_of(image: Image.Image) -> Likeness:
    """Measure a picture once."""
    import imagehash

    rgb = image.convert("RGB")
    scale = _VIEW / max(rgb.size)
    size = _sized(rgb.size, scale)
    colour = rgb.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    grey = colour.convert("L")
    square = rgb.convert("L") if max(rgb.size) <= 4 * PROFILE else colour.convert("L")
    light = np.asarray(
        square.resize((PROFILE, PROFILE), Image.Resampling.LANCZOS, reducing_gap=2.0), dtype=np.float32
    )
    detail = np.abs(np.diff(light, axis=0, append=light[-1:])) + np.abs(
        np.diff(light, axis=1, append=light[:, -1:])
    )
    values = np.asarray(colour, dtype=np.float32)
    return Likeness(
        colour=colour,
        grey=grey,
        small=grey.resize(_sized(grey.size, 1 / 3), Image.Resampling.BOX),
        bits=np.packbits(imagehash.phash(grey, hash_size=16).hash.reshape(-1)),
        profiles=np.stack([[light.mean(1), detail.mean(1)], [light.mean(0), detail.mean(0)]]),
        maps=np.stack([_halved(light), _halved(detail)]),
        blank=bool(values.std(axis=(0, 1)).max() < BLANK),
        plain=_tiles_with_detail(values) < LEAST_TILES,
    )


def _sized(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(8, round(size[0] * scale)), max(8, round(size[1] * scale))


def _halved(square: Floats) -> Floats:
    halved: Floats = square.reshape(MAP, 2, MAP, 2).mean(axis=(1, 3))
    return halved


def _tiles_with_detail(values: Floats) -> int:
    """Count the tiles in which something is to be seen."""
    height, width = (side - side % TILE for side in values.shape[:2])
    tiles = values[:height, :width].reshape(height // TILE, TILE, width // TILE, TILE, 3)
    return int((tiles.var(axis=(1, 3)).sum(axis=-1) > NOISE).sum())
