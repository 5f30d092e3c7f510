"""Qwen3-VL with a mixture of experts: experts are 3-D parameters."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="qwen3_vl_moe",
    model_types=("qwen3_vl_moe",),
    ids=(r"qwen3-vl-.*a\d+b",),
    vision=("visual",),
    projector=("visual.merger", "visual.deepstack_merger_list"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2511.21631", "arXiv:2304.08485"),
    image_cost=merged_grid(),
    required_inputs=("mm_token_type_ids", "image_grid_thw"),
    image_texts=("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    pixel_limits=True,
    batches="padded",
)
