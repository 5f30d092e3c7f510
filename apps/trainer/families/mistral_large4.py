"""Mistral Large 4: Pixtral's tower, latent attention, experts."""

from apps.trainer.families import Family
from apps.trainer.families.counts import image_sizes

FAMILY = Family(
    name="mistral_large4",
    model_types=("mistral_large4",),
    ids=("mistral-large-4",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=image_sizes("spatial_merge_size"),
    stands_for={"k_proj": ("kv_a_proj_with_mqa", "kv_b_proj"), "v_proj": ("kv_a_proj_with_mqa", "kv_b_proj")},
    required_inputs=("image_sizes",),
    image_texts=("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
)
