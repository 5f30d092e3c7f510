"""VideoLLaMA 3: a tower of native resolution; how much is merged comes with each image."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count from `image_grid_thw` (n_images, 3) and `image_merge_sizes` (n_images)."""
    if "image_grid_thw" not in batch:
        return NONE
    patches = [int(n) for n in batch["image_grid_thw"].prod(dim=-1)]
    merges = [int(n) for n in batch["image_merge_sizes"]]
    tokens = sum(n // merge**2 for n, merge in zip(patches, merges, strict=True))
    return ImageCost(tokens=tokens, patches=sum(patches))


FAMILY = Family(
    name="video_llama_3",
    model_types=("video_llama_3",),
    ids=("videollama3",),
    vision=("vision_model",),
    projector=("projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2501.13106", "arXiv:2304.08485"),
    image_cost=image_cost,
    required_inputs=("image_grid_thw", "image_merge_sizes"),
    pixel_limits=True,
    batches="padded",
)
