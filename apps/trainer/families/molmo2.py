"""Molmo2: attention pools patches of crops; tokens mark rows and columns."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count from `image_grids` (n_images, 4): rows and columns of the small and of the large view."""
    if "image_grids" not in batch:
        return NONE
    tokens = sum(small * low + large * high for small, low, large, high in batch["image_grids"].tolist())
    crops, patches = batch["pixel_values"].shape[:2]
    return ImageCost(tokens=tokens, patches=crops * patches)


FAMILY = Family(
    name="molmo2",
    model_types=("molmo2",),
    ids=("molmo2",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2601.10611", "arXiv:2409.17146", "arXiv:2304.08485"),
    image_cost=image_cost,
    required_inputs=("image_token_pooling", "image_grids", "image_num_crops", "mm_token_type_ids"),
    image_texts=("<|image|>", "<im_patch>", "<im_start>", "<im_end>", "<im_col>", "<low_res_im_start>"),
    needs=("torchvision",),
    batches="padded",
)
