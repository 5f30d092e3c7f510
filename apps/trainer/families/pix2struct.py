"""Pix2Struct: the question is drawn on the image; a decoder answers."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count patches of `flattened_patches` (n_images, patches, features); there are no placeholders."""
    pages = batch.get("flattened_patches", ())
    return ImageCost(tokens=0, patches=sum(len(page) for page in pages))


FAMILY = Family(
    name="pix2struct",
    model_types=("pix2struct",),
    ids=("pix2struct", "deplot", "matcha-"),
    vision=("encoder",),
    language=("decoder",),
    head=("decoder.lm_head",),
    papers=("arXiv:2210.03347",),
    image_cost=image_cost,
    stands_for={
        "q_proj": ("query",),
        "k_proj": ("key",),
        "v_proj": ("value",),
        "o_proj": ("output",),
        "gate_proj": ("wi_0",),
        "up_proj": ("wi_1",),
        "down_proj": ("wo",),
    },
    labels="drawn",
)
