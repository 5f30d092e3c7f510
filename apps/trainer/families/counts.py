"""How many placeholders an image takes: the rules that families share.

A rule is made from where its numbers stand in the model's config, and counts from what the processor
returned. It counts the feature rows that the model will make, never the placeholders, so that comparing
the two finds a processor that belongs to another checkpoint.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apps.trainer.families import ImageCost

Rule = Callable[[Mapping[str, Any], Any], ImageCost]
"""(processor output of one row, model config) -> cost."""

PerTile = Callable[[Any, int, int], int]
"""(model config, rows, columns of patches in a tile) -> feature rows of the tile."""

NONE = ImageCost(tokens=0, patches=0)


def value(config: Any, path: int | str) -> Any:
    """Return what stands at a dotted path of a config; a number stands for itself.

    Of a pair (height, width) the first is taken: towers are square.
    """
    if isinstance(path, int):
        return path
    for name in path.split("."):
        config = getattr(config, name)
    return config[0] if isinstance(config, (list, tuple)) else config


def merged_grid(
    merge: int | str = "vision_config.spatial_merge_size", *, key: str = "image_grid_thw"
) -> Rule:
    """Count from the grids of patches (n_images, 2 or 3): `merge`² patches become one token."""

    def count(batch: Mapping[str, Any], config: Any) -> ImageCost:
        if key not in batch:
            return NONE
        grids = [int(n) for n in batch[key].prod(dim=-1)]
        square = int(value(config, merge)) ** 2
        return ImageCost(tokens=sum(n // square for n in grids), patches=sum(grids))

    return count


def padded_grid(factor: str, *, key: str) -> Rule:
    """Count from grids (n_tiles, 2) that are filled up to a multiple of `factor` before merging."""

    def count(batch: Mapping[str, Any], config: Any) -> ImageCost:
        if key not in batch:
            return NONE
        grids = [(int(rows), int(columns)) for rows, columns in batch[key]]
        by = int(value(config, factor))
        tokens = sum(math.ceil(rows / by) * math.ceil(columns / by) for rows, columns in grids)
        return ImageCost(tokens=tokens, patches=sum(rows * columns for rows, columns in grids))

    return count


def tiles(
    tokens: PerTile, *, patch: int | str = "vision_config.patch_size", keys: Sequence[str] = ("pixel_values",)
) -> Rule:
    """Count from pixels (..., 3, height, width): every tile has the same number of tokens."""

    def count(batch: Mapping[str, Any], config: Any) -> ImageCost:
        cost = NONE
        for key in (key for key in keys if key in batch):
            *leading, _, height, width = batch[key].shape
            side = int(value(config, patch))
            rows, columns = height // side, width // side
            number = math.prod(leading)
            cost = ImageCost(
                tokens=cost.tokens + number * tokens(config, rows, columns),
                patches=cost.patches + number * rows * columns,
            )
        return cost

    return count


def fixed(path: int | str) -> PerTile:
    """A tile makes as many tokens as the config says."""
    return lambda config, rows, columns: int(value(config, path))


def shuffled(factor: int | str) -> PerTile:
    """`factor`² patches become one token (pixel shuffle, pooling or strided convolutions)."""

    def count(config: Any, rows: int, columns: int) -> int:
        by = int(value(config, factor))
        return (rows // by) * (columns // by)

    return count


def ratio(path: str) -> PerTile:
    """Both sides shrink by a ratio such as 0.5."""

    def count(config: Any, rows: int, columns: int) -> int:
        by = float(value(config, path))
        return int(rows * by) * int(columns * by)

    return count


def class_token(config: Any) -> int:
    """Return by how many features a tile has more than patches: CLIP's class token, if it is kept.

    The strategy `default` drops the first feature of any tower, whether it is a class token or not.
    """
    has_one = config.vision_config.model_type == "clip_vision_model"
    return int(has_one) - int(config.vision_feature_select_strategy == "default")


def every_patch(config: Any, rows: int, columns: int) -> int:
    """Every patch makes one token, and the class token another where it is kept."""
    return rows * columns + class_token(config)


def image_sizes(merge: int | str = 1, *, patch: str = "vision_config.patch_size") -> Rule:
    """Count from `image_sizes` (n_images, 2) in pixels, for towers that see images unpadded (Pixtral)."""

    def count(batch: Mapping[str, Any], config: Any) -> ImageCost:
        if "image_sizes" not in batch:
            return NONE
        side, by = int(value(config, patch)), int(value(config, merge))
        grids = [(int(height) // side, int(width) // side) for height, width in batch["image_sizes"]]
        tokens = sum((rows // by) * (columns // by) for rows, columns in grids)
        return ImageCost(tokens=tokens, patches=sum(rows * columns for rows, columns in grids))

    return count


def attended(mask: str, *, patch: str = "vision_config.patch_size", real: str | None = None) -> Rule:
    """Count for cross-attention: one placeholder for each image, whose features the text attends to.

    `mask` (1, length, n_images, ...) says which images are there: some processors return black pixels where
    there is none. `real` (..., tiles) says which tiles are not padding.
    """

    def count(batch: Mapping[str, Any], config: Any) -> ImageCost:
        if mask not in batch or "pixel_values" not in batch:
            return NONE
        seen = (batch[mask] != 0).flatten(3) if batch[mask].dim() > 3 else batch[mask][..., None] != 0
        images = int(seen.any(dim=-1).any(dim=1).sum())
        *leading, _, height, width = batch["pixel_values"].shape
        side = int(value(config, patch))
        number = int(batch[real].sum()) if real in batch else math.prod(leading)
        return ImageCost(tokens=images, patches=number * (height // side) * (width // side))

    return count


def best_resolution(size: tuple[int, int], pinpoints: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Return the (height, width) of `pinpoints` that keeps most of an image and wastes least (LLaVA-NeXT)."""
    height, width = size

    def fit(pinpoint: Sequence[int]) -> tuple[int, int]:
        scale = min(pinpoint[1] / width, pinpoint[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - pinpoint[0] * pinpoint[1]

    best = max(pinpoints, key=fit)
    return best[0], best[1]


def unpadded(size: tuple[int, int], rows: int, columns: int) -> tuple[int, int]:
    """Return rows and columns of features that are left when the padding around an image is cut off."""
    height, width = size
    if width / height > columns / rows:
        kept = int(round(height * (columns / width), 7))
        return rows - (rows - kept) // 2 * 2, columns
    kept = int(round(width * (rows / height), 7))
    return rows, columns - (columns - kept) // 2 * 2


def tiled_rows(size: tuple[int, int], config: Any) -> tuple[int, int, int, int]:
    """Return (rows, columns) of unpadded features of an image in tiles, patches per tile's side, tiles."""
    tile = int(value(config, "vision_config.image_size"))
    side = tile // int(value(config, "vision_config.patch_size"))
    height, width = best_resolution(size, config.image_grid_pinpoints)
    down, across = height // tile, width // tile
    rows, columns = unpadded(size, down * side, across * side)
    return rows, columns, side, down * across


def anyres(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count LLaVA-NeXT's tiles: their features unpadded, a newline after each row, and the whole image."""
    if "image_sizes" not in batch:
        return NONE
    tokens = patches = 0
    for height, width in batch["image_sizes"].tolist():
        rows, columns, side, number = tiled_rows((height, width), config)
        tokens += rows * (columns + 1) + side * side + class_token(config)
        patches += (number + 1) * side * side
    return ImageCost(tokens=tokens, patches=patches)
