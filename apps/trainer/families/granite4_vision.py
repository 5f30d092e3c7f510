"""Granite 4 Vision: window Q-Formers compress tiles, and feed several language layers."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE, best_resolution, unpadded


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count LLaVA-NeXT's tiles, whose features are first compressed by `downsample_rate`, such as 4/8."""
    if "image_sizes" not in batch:
        return NONE
    tokens = patches = 0
    for height, width in batch["image_sizes"].tolist():
        tile = int(config.vision_config.image_size)
        side = tile // int(config.vision_config.patch_size)
        kept = int(side * Fraction(config.downsample_rate))
        down, across = (n // tile for n in best_resolution((height, width), config.image_grid_pinpoints))
        rows, columns = unpadded((height, width), down * kept, across * kept)
        tokens += rows * (columns + 1) + kept * kept
        patches += (down * across + 1) * side * side
    return ImageCost(tokens=tokens, patches=patches)


FAMILY = Family(
    name="granite4_vision",
    model_types=("granite4_vision",),
    ids=("granite-4.*vision",),
    vision=("vision_tower",),
    projector=("image_newline", "layerwise_projectors", "spatial_projectors"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=image_cost,
    required_inputs=("image_sizes",),
)
