"""Phi-4-multimodal: both towers lie inside the language model's embedding; layers are fused."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count tiles without their padding: a newline after each row, a separator, and the whole image."""
    if "image_attention_mask" not in batch:
        return NONE
    crop = int(config.vision_config.crop_size)
    tokens = patches = 0
    sizes = batch["image_sizes"].reshape(-1, 2).tolist()
    for size, mask in zip(sizes, batch["image_attention_mask"], strict=True):
        down, across = (n // crop for n in size)
        half = mask[1 : down * across + 1, ::2, ::2]  # [tiles, side, side]
        side = half.shape[-1]
        whole = half.reshape(down, across, side, side).transpose(1, 2).reshape(down * side, across * side)
        tokens += int(whole.sum()) + int(whole[:, 0].sum()) + side * side + side + 1
        patches += (down * across + 1) * mask.shape[-2] * mask.shape[-1]
    return ImageCost(tokens=tokens, patches=patches)


FAMILY = Family(
    name="phi4_multimodal",
    model_types=("phi4_multimodal",),
    ids=("phi-4-multimodal",),
    vision=("embed_tokens_extend.image_embed.img_processor",),
    projector=("embed_tokens_extend.image_embed",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    audio=("embed_tokens_extend.audio_embed",),
    head=("lm_head",),
    papers=("arXiv:2503.01743", "arXiv:2304.08485"),
    image_cost=image_cost,
    loader="AutoModelForMultimodalLM",
    stands_for={
        "q_proj": ("qkv_proj",),
        "k_proj": ("qkv_proj",),
        "v_proj": ("qkv_proj",),
        "gate_proj": ("gate_up_proj",),
        "up_proj": ("gate_up_proj",),
    },
    required_inputs=("image_pixel_values", "image_sizes", "image_attention_mask"),
    image_texts=("<|image|>", "<|audio|>", "<|endoftext10|>", "<|endoftext11|>"),
    needs=("torchvision",),
    batches="padded",
)
