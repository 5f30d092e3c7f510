"""ERNIE 4.5 VL: a resampler merges space and time; experts of text and of vision."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="ernie4_5_vl_moe",
    model_types=("ernie4_5_vl_moe",),
    ids=("ernie-4[._]5-vl",),
    vision=("vision_tower",),
    projector=("resampler_model",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(),
    required_inputs=("image_grid_thw", "mm_token_type_ids"),
    image_texts=("<|IMAGE_PLACEHOLDER|>", "<|IMAGE_START|>", "<|IMAGE_END|>"),
    pixel_limits=True,
)
