"""dots3-note: a tower of experts, an audio tower, latent attention."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="dots3_note",
    model_types=("dots3_note",),
    ids=("dots3-note",),
    vision=("vision_tower",),
    projector=("vision_tower.merger",),
    language=("language_model",),
    audio=("audio_tower",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(),
    stands_for={
        "q_proj": ("q_a_proj", "q_b_proj"),
        "k_proj": ("kv_a_proj_with_mqa", "kv_b_proj"),
        "v_proj": ("kv_a_proj_with_mqa", "kv_b_proj"),
    },
    required_inputs=("image_grid_thw",),
    pixel_limits=True,
)
