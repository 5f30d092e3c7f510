"""Qwen2.5-VL: the projector is `visual.merger`, inside the vision module."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="qwen2_5_vl",
    model_types=("qwen2_5_vl",),
    ids=(r"qwen2[._-]5-vl",),
    vision=("visual",),
    projector=("visual.merger",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2502.13923", "arXiv:2304.08485"),
    image_cost=merged_grid(),
    required_inputs=("mm_token_type_ids", "image_grid_thw"),
    image_texts=("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    pixel_limits=True,
    batches="padded",
)
