"""Florence-2: a DaViT tower, a BART encoder-decoder, tasks as prompts."""

from typing import Any

from apps.trainer.families import Family
from apps.trainer.families.counts import tiles

PIXELS = 32
"""Pixels per side of one feature: the product of DaViT's strides."""


def pooled(config: Any, rows: int, columns: int) -> int:
    """Every feature makes one token, and their mean another."""
    return rows * columns + 1


FAMILY = Family(
    name="florence2",
    model_types=("florence2",),
    ids=("florence-2",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2311.06242",),
    image_cost=tiles(pooled, patch=PIXELS),
    stands_for={"o_proj": ("out_proj",), "up_proj": ("fc1",), "down_proj": ("fc2",)},
    image_texts=("<image>",),
    labels="decoder",
    batches="padded",
)
