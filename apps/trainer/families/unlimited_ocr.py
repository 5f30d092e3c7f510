"""Unlimited-OCR: SAM and CLIP towers side by side, newlines between rows of features."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE, shuffled, tiles


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count a square of features per image, its tiles as one rectangle, newlines and one separator."""
    if "pixel_values" not in batch:
        return NONE
    side = batch["pixel_values"].shape[-1] // PIXELS
    tokens, patches = 0, TILED(batch, config).patches
    for columns, rows in batch["patches_grid"]:
        tokens += side * (side + 1) + 1
        if columns * rows > 1:
            tile = batch["pixel_values_local"].shape[-1] // PIXELS
            tokens += int(rows) * tile * (int(columns) * tile + 1)
    return ImageCost(tokens=tokens, patches=patches)


PIXELS = 64
"""Pixels per side of one feature: patches of 16, four by four of them compressed."""

TILED = tiles(shuffled(4), patch=16, keys=("pixel_values", "pixel_values_local"))

FAMILY = Family(
    name="unlimited_ocr",
    model_types=("unlimited_ocr",),
    ids=("unlimited-ocr",),
    vision=("vision_tower",),
    projector=("multi_modal_projector", "view_separator", "image_newline"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=image_cost,
    required_inputs=("patches_grid",),
    image_texts=("<image>",),
    needs=("torchvision",),
)
