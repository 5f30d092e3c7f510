"""Kosmos-2.5: latent queries gather the patches of a page."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count from `flattened_patches` (n_images, patches, features)."""
    if "flattened_patches" not in batch:
        return NONE
    images, patches = batch["flattened_patches"].shape[:2]
    return ImageCost(tokens=images * config.latent_query_num, patches=images * patches)


FAMILY = Family(
    name="kosmos2_5",
    model_types=("kosmos-2.5",),
    ids=("kosmos-2[.]5",),
    vision=("vision_model",),
    projector=("image_to_text_projection",),
    language=("text_model",),
    head=("text_model.lm_head",),
    papers=("arXiv:2309.11419",),
    image_cost=image_cost,
    stands_for={"o_proj": ("out_proj",), "up_proj": ("fc1",), "down_proj": ("fc2",)},
    image_texts=("<image>", "</image>"),
)
