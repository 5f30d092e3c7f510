"""Inkling: a hierarchical tower that ends in the language model's width; no projector."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count from `pixel_values` (n_patches, ...): each patch makes one token."""
    patches = len(batch.get("pixel_values", ()))
    return ImageCost(tokens=patches, patches=patches)


FAMILY = Family(
    name="inkling",
    model_types=("inkling_mm_model",),
    ids=("inkling(?!-?2)",),
    vision=("vision_tower",),
    language=("language_model",),
    audio=("audio_tower",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=image_cost,
    needs=("torchvision",),
)
