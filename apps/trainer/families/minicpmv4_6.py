"""MiniCPM-V 4.6: one merger inside the tower, one behind it; Qwen3.5's language model."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count from `target_sizes` (n_slices, 2): 16 patches make a token, 4 in the mode `4x`."""
    if "target_sizes" not in batch:
        return NONE
    patches = [int(n) for n in batch["target_sizes"].reshape(-1, 2).prod(dim=-1)]
    divisor = 4 if config.downsample_mode == "4x" else 16
    return ImageCost(tokens=sum(n // divisor for n in patches), patches=sum(patches))


FAMILY = Family(
    name="minicpmv4_6",
    model_types=("minicpmv4_6",),
    ids=(r"minicpm-v-4[._]6",),
    vision=("vision_tower",),
    projector=("vision_tower.vit_merger", "merger"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2408.01800", "arXiv:2304.08485"),
    image_cost=image_cost,
    stands_for={
        "q_proj": ("in_proj_qkv", "in_proj_z"),
        "k_proj": ("in_proj_qkv",),
        "v_proj": ("in_proj_qkv",),
        "o_proj": ("out_proj",),
    },
    required_inputs=("target_sizes",),
    image_texts=("<image>", "</image>", "<slice>", "</slice>", "<image_id>", "</image_id>"),
    batches="padded",
)
