"""Cosmos 3 Omni's reasoner: Qwen3-VL's layout."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="cosmos3_omni",
    model_types=("cosmos3_omni",),
    ids=("cosmos-?3.*(omni|nano|super)",),
    vision=("visual",),
    projector=("visual.merger", "visual.deepstack_merger_list"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(),
    required_inputs=("mm_token_type_ids", "image_grid_thw"),
    image_texts=("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    pixel_limits=True,
)
