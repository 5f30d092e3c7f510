"""Granite Docling: the connector lies inside the vision module."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE, value

TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 9) for column in range(1, 9))
"""What the template writes before each tile of an image."""


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count real tiles; the fine route makes four times the tokens."""
    if "pixel_attention_mask" not in batch:
        return NONE
    tower = config.vision_config
    number = int(batch["pixel_attention_mask"].sum())
    side = int(value(tower, "image_size")) // int(value(tower, "patch_size"))
    by = int(tower.scale_factor) // (2 if "tile_fine_mask" in batch else 1)
    return ImageCost(tokens=number * (side // by) ** 2, patches=number * side * side)


FAMILY = Family(
    name="granite_docling",
    model_types=("granite_docling",),
    ids=("granite-docling",),
    vision=("vision_model",),
    projector=("vision_model.connector",),
    language=("text_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=image_cost,
    required_inputs=("pixel_attention_mask",),
    image_texts=("<image>", "<fake_token_around_image>", "<global-img>", *TILES),
)
