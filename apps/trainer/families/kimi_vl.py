"""Kimi-VL, by its repository's code: MoonViT before Moonlight's experts."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="kimi_vl",
    model_types=("kimi_vl",),
    ids=("kimi-vl",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("language_model.lm_head",),
    papers=("arXiv:2504.07491", "arXiv:2304.08485"),
    image_cost=merged_grid("vision_config.merge_kernel_size", key="image_grid_hws"),
    loader="AutoModelForCausalLM",
    code="repository",
    stands_for={"k_proj": ("kv_a_proj_with_mqa", "kv_b_proj"), "v_proj": ("kv_a_proj_with_mqa", "kv_b_proj")},
    required_inputs=("image_grid_hws",),
    image_texts=("<|media_start|>", "<|media_content|>", "<|media_pad|>", "<|media_end|>"),
)
