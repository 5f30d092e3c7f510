"""Emu3: images become tokens of the vocabulary through a VQ-VAE."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count from `image_sizes` (n_images, 2) in pixels: a token for each feature, and one to end each row."""
    sizes = [(int(h) // PIXELS, int(w) // PIXELS) for h, w in batch.get("image_sizes", ())]
    tokens = sum(rows * (columns + 1) for rows, columns in sizes)
    return ImageCost(tokens=tokens, patches=sum(rows * columns for rows, columns in sizes))


PIXELS = 8
"""Pixels per side of one token."""

FAMILY = Family(
    name="emu3",
    model_types=("emu3",),
    ids=("emu3",),
    vision=("vqmodel",),
    language=("text_model",),
    head=("lm_head",),
    papers=("arXiv:2409.18869",),
    image_cost=image_cost,
    required_inputs=("image_sizes",),
    image_texts=("<image>",),
)
