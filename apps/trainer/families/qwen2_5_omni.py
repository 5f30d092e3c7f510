"""Qwen2.5-Omni: only the thinker is trained; the talker is not built."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="qwen2_5_omni",
    model_types=("qwen2_5_omni", "qwen2_5_omni_thinker"),
    ids=("qwen2[._]5-omni",),
    vision=("visual",),
    projector=("visual.merger",),
    language=("language_model",),
    audio=("audio_tower",),
    head=("lm_head",),
    papers=("arXiv:2503.20215", "arXiv:2304.08485"),
    image_cost=merged_grid(),
    loader="Qwen2_5OmniThinkerForConditionalGeneration",
    config_part="thinker_config",
    required_inputs=("image_grid_thw",),
    image_texts=("<|vision_bos|>", "<|vision_eos|>", "<|IMAGE|>", "<|VIDEO|>", "<|AUDIO|>"),
    pixel_limits=True,
    batches="padded",
)
