"""Gemma 4: vision and audio are optional, each with its own embedder."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count real patches by their positions (n_images, patches, 2); (-1, -1) is padding."""
    if "image_position_ids" not in batch:
        return NONE
    square = int(config.vision_config.pooling_kernel_size) ** 2
    patches = [int(n) for n in (batch["image_position_ids"] != -1).all(dim=-1).sum(dim=-1)]
    return ImageCost(tokens=sum(n // square for n in patches), patches=sum(patches))


FAMILY = Family(
    name="gemma4",
    model_types=("gemma4",),
    ids=("gemma-4-(?!.*unified)",),
    vision=("vision_tower",),
    projector=("embed_vision",),
    language=("language_model",),
    audio=("audio_tower", "embed_audio"),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=image_cost,
    required_inputs=("image_position_ids", "mm_token_type_ids"),
    image_texts=("<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>", "<|video|>"),
    batches="padded",
)
