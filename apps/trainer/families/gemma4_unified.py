"""Gemma 4 without towers: patches and sound are embedded straight into the language model."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count real patches by their positions (n_images, patches, 2); each is one token."""
    if "image_position_ids" not in batch:
        return NONE
    patches = int((batch["image_position_ids"] != -1).all(dim=-1).sum())
    return ImageCost(tokens=patches, patches=patches)


FAMILY = Family(
    name="gemma4_unified",
    model_types=("gemma4_unified",),
    ids=("gemma-4-.*unified",),
    projector=("embed_vision",),
    language=("language_model",),
    audio=("embed_audio",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=image_cost,
    required_inputs=("image_position_ids", "mm_token_type_ids"),
    image_texts=("<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>", "<|video|>"),
    needs=("torchvision",),
)
