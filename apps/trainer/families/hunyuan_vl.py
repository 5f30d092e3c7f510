"""Hunyuan-VL: rows of features end in a newline, images in begin and end."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count from `image_grid_thw` (n_images, 3): merged rows, each with a newline, and two ends."""
    if "image_grid_thw" not in batch:
        return NONE
    grids = [(int(h), int(w)) for _, h, w in batch["image_grid_thw"]]
    by = int(config.vision_config.spatial_merge_size)
    tokens = sum(h // by * (w // by + 1) + 2 for h, w in grids)
    return ImageCost(tokens=tokens, patches=sum(h * w for h, w in grids))


FAMILY = Family(
    name="hunyuan_vl",
    model_types=("hunyuan_vl",),
    ids=("hunyuan-?(vl|ocr)",),
    vision=("vision_tower",),
    projector=("vision_tower.patch_merger",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=image_cost,
    required_inputs=("mm_token_type_ids", "image_grid_thw"),
    pixel_limits=True,
)
