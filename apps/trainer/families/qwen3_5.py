"""Qwen3.5: three of four layers mix tokens by linear attention."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="qwen3_5",
    model_types=("qwen3_5",),
    ids=(r"qwen3[._][568]-(?!.*a\d+b)",),
    vision=("visual",),
    projector=("visual.merger",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(),
    stands_for={
        "q_proj": ("in_proj_qkv", "in_proj_z"),
        "k_proj": ("in_proj_qkv",),
        "v_proj": ("in_proj_qkv",),
        "o_proj": ("out_proj",),
    },
    required_inputs=("mm_token_type_ids", "image_grid_thw"),
    image_texts=("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    pixel_limits=True,
    batches="padded",
)
