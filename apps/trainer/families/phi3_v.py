"""Phi-3-vision and Phi-3.5-vision, by their repository's code; layers are fused."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count from `image_sizes` (n_images, 2): 144 tokens a tile, newlines, a separator, the whole image."""
    tokens = patches = 0
    for height, width in batch.get("image_sizes", ()):
        down, across = int(height) // TILE, int(width) // TILE
        tokens += (down * across + 1) * SIDE * SIDE + 1 + (down + 1) * SIDE
        patches += (down * across + 1) * (2 * SIDE) ** 2
    return ImageCost(tokens=tokens, patches=patches)


TILE = 336
SIDE = 12
"""Pixels per side of a tile, and features per side after two by two patches are joined."""

FAMILY = Family(
    name="phi3_v",
    model_types=("phi3_v",),
    ids=("phi-3([._]5)?-vision",),
    vision=("vision_embed_tokens.img_processor",),
    projector=("vision_embed_tokens",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2404.14219", "arXiv:2304.08485"),
    image_cost=image_cost,
    loader="AutoModelForCausalLM",
    code="repository",
    stands_for={
        "q_proj": ("qkv_proj",),
        "k_proj": ("qkv_proj",),
        "v_proj": ("qkv_proj",),
        "gate_proj": ("gate_up_proj",),
        "up_proj": ("gate_up_proj",),
    },
    required_inputs=("image_sizes",),
    image_texts=tuple(f"<|image_{number}|>" for number in range(1, 33)),
)
