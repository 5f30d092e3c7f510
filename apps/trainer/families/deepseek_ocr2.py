"""DeepSeek-OCR 2: a SAM tower and a language model as encoder, one separator per image."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import shuffled, tiles


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count whole images and tiles, 16 patches to a token, and the separator between them."""
    cost = TILED(batch, config)
    return replace(cost, tokens=cost.tokens + len(batch.get("pixel_values", ())))


TILED = tiles(
    shuffled(4), patch="vision_config.sam_config.patch_size", keys=("pixel_values", "pixel_values_local")
)

FAMILY = Family(
    name="deepseek_ocr2",
    model_types=("deepseek_ocr2",),
    ids=("deepseek-ocr-2",),
    vision=("vision_tower",),
    projector=("multi_modal_projector", "view_separator"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2601.20552", "arXiv:2304.08485"),
    image_cost=image_cost,
    image_texts=("<image>",),
)
