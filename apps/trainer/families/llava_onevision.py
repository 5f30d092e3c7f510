"""LLaVA-OneVision: tiles as LLaVA-NeXT, scaled down when there are too many."""

import math
from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE, tiled_rows


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count tiles, or for several images in a row, one tile and a newline each."""
    if "image_sizes" not in batch:
        return NONE
    tokens = patches = 0
    for height, width in batch["image_sizes"].tolist():
        rows, columns, side, number = tiled_rows((height, width), config)
        if len(batch["image_sizes"]) > 1:
            tokens, patches = tokens + side * side + 1, patches + side * side
            continue
        scale = math.sqrt(rows * columns / (_most_tiles(config) * side * side))
        if scale > SCALED_FROM:
            rows, columns = int(rows // scale), int(columns // scale)
        tokens += rows * (columns + 1) + side * side
        patches += (number + 1) * side * side
    return ImageCost(tokens=tokens, patches=patches)


SCALED_FROM = 1.1
"""Features are scaled down when a side exceeds what is allowed by this factor."""


def _most_tiles(config: Any) -> int:
    return int(config.vision_aspect_ratio.removeprefix("anyres_max_"))


FAMILY = Family(
    name="llava_onevision",
    model_types=("llava_onevision",),
    ids=("llava-onevision",),
    vision=("vision_tower",),
    projector=("multi_modal_projector", "image_newline"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2408.03326", "arXiv:2304.08485"),
    image_cost=image_cost,
    required_inputs=("image_sizes",),
    batches="padded",
)
