"""Qwen2.5-VL: the projector is `visual.merger`, inside the vision module."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count from `image_grid_thw` (n_images, 3): patches, and `spatial_merge_size`² of them per token."""
    if "image_grid_thw" not in batch:
        return ImageCost(tokens=0, patches=0)
    patches = int(batch["image_grid_thw"].prod(dim=-1).sum())
    return ImageCost(tokens=patches // config.vision_config.spatial_merge_size**2, patches=patches)


FAMILY = Family(
    name="qwen2_5_vl",
    model_types=("qwen2_5_vl",),
    ids=(r"qwen2[._-]5-vl",),
    vision=("visual",),
    projector=("visual.merger",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2502.13923", "arXiv:2304.08485"),
    image_cost=image_cost,
    pixel_limits=True,
    required_inputs=("mm_token_type_ids", "image_grid_thw"),
)
