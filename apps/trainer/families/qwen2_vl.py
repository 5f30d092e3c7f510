"""Qwen2-VL: the projector is `visual.merger`, inside the vision module."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="qwen2_vl",
    model_types=("qwen2_vl",),
    ids=("qwen2-vl",),
    vision=("visual",),
    projector=("visual.merger",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2409.12191", "arXiv:2304.08485"),
    image_cost=merged_grid(),
    required_inputs=("mm_token_type_ids", "image_grid_thw"),
    image_texts=("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    pixel_limits=True,
    batches="padded",
)
