"""Kimi K2.5: MoonViT before DeepSeek-V3's layout with latent attention."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="kimi_k25",
    model_types=("kimi_k25",),
    ids=("kimi-k2[._]5",),
    vision=("vision_tower",),
    projector=("mm_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2602.02276", "arXiv:2304.08485"),
    image_cost=merged_grid("vision_config.merge_kernel_size"),
    stands_for={
        "q_proj": ("q_a_proj", "q_b_proj"),
        "k_proj": ("kv_a_proj_with_mqa", "kv_b_proj"),
        "v_proj": ("kv_a_proj_with_mqa", "kv_b_proj"),
    },
    required_inputs=("image_grid_thw",),
    image_texts=("<|media_begin|>", "<|media_content|>", "<|media_pad|>", "<|media_end|>"),
    needs=("torchvision",),
    batches="padded",
)
