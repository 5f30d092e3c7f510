"""Qwen3-Omni: only the thinker is trained; the talker is not built."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="qwen3_omni_moe",
    model_types=("qwen3_omni_moe", "qwen3_omni_moe_thinker"),
    ids=("qwen3-omni",),
    vision=("visual",),
    projector=("visual.merger", "visual.merger_list"),
    language=("language_model",),
    audio=("audio_tower",),
    head=("lm_head",),
    papers=("arXiv:2509.17765", "arXiv:2304.08485"),
    image_cost=merged_grid(),
    loader="Qwen3OmniMoeThinkerForConditionalGeneration",
    config_part="thinker_config",
    required_inputs=("image_grid_thw",),
    image_texts=("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|audio_pad|>"),
    pixel_limits=True,
    batches="padded",
)
