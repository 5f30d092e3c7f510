"""GLM-5 Next: latent and linear attention over a mixture of experts."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="glm5_next",
    model_types=("glm5_next",),
    ids=(r"glm-5[\w.]*-next",),
    vision=("visual",),
    projector=("visual.merger", "visual.downsample"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(),
    stands_for={
        "q_proj": ("q_a_proj", "q_b_proj"),
        "k_proj": ("kv_a_proj_with_mqa", "kv_b_proj"),
        "v_proj": ("kv_a_proj_with_mqa", "kv_b_proj"),
    },
    required_inputs=("mm_token_type_ids", "image_grid_thw"),
    image_texts=(
        "<|begin_of_image|>",
        "<|image|>",
        "<|end_of_image|>",
        "<|begin_of_video|>",
        "<|video|>",
        "<|end_of_video|>",
    ),
    pixel_limits=True,
)
