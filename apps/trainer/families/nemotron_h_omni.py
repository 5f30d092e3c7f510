"""Nemotron 3 Nano Omni: RADIO tower before a hybrid of Mamba, attention and experts."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import NONE, merged_grid


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count from `image_grid_hw` (n_images, 2); the merge is written as a ratio such as 0.5."""
    if "image_grid_hw" not in batch:
        return NONE
    return merged_grid(round(1 / config.downsample_ratio), key="image_grid_hw")(batch, config)


FAMILY = Family(
    name="nemotron_h_omni",
    model_types=("nemotron_h_omni",),
    ids=("nemotron-(3|nano-3)-nano-omni", "nemotron.*omni"),
    vision=("vision_model",),
    projector=("multi_modal_projector", "vision_final_layernorm"),
    language=("language_model",),
    audio=("audio_tower", "embed_audio"),
    head=("language_model.lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=image_cost,
    # Mamba's `out_proj` is read by a fused kernel past its module: factors beside it would do nothing.
    stands_for={"q_proj": ("in_proj",), "k_proj": ("in_proj",), "v_proj": ("in_proj",)},
    required_inputs=("image_grid_hw",),
    image_texts=("<image>", "<img>", "</img>"),
    needs=("torchvision",),
    batches="padded",
)
