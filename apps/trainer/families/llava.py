"""LLaVA 1.5: the projector stands beside the vision tower."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count from `pixel_values` (n_images, 3, height, width); the class token is dropped by default."""
    if "pixel_values" not in batch:
        return ImageCost(tokens=0, patches=0)
    images, _, height, width = batch["pixel_values"].shape
    side = config.vision_config.patch_size
    patches = images * (height // side) * (width // side)
    kept = 0 if config.vision_feature_select_strategy == "default" else images
    return ImageCost(tokens=patches + kept, patches=patches)


FAMILY = Family(
    name="llava",
    model_types=("llava",),
    ids=(r"llava-1[._]5", r"llava-v1[._]5"),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485", "arXiv:2310.03744"),
    image_cost=image_cost,
)
