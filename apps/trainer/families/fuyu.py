"""Fuyu: no tower; one linear layer projects patches."""

import math
from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count patches; newlines between their rows are other tokens."""
    patches = sum(math.prod(image.shape[:-1]) for image in batch.get("image_patches", ()))
    return ImageCost(tokens=patches, patches=patches)


FAMILY = Family(
    name="fuyu",
    model_types=("fuyu",),
    ids=("fuyu-",),
    projector=("vision_embed_tokens",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=image_cost,
    stands_for={
        "q_proj": ("query_key_value",),
        "k_proj": ("query_key_value",),
        "v_proj": ("query_key_value",),
        "o_proj": ("dense",),
        "up_proj": ("dense_h_to_4h",),
        "down_proj": ("dense_4h_to_h",),
    },
    required_inputs=("image_patches",),
    image_texts=("|SPEAKER|", "|NEWLINE|"),
)
