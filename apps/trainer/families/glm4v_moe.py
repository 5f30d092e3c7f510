"""GLM-4.5V and GLM-4.6V: GLM-4.1V's tower before a mixture of experts."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="glm4v_moe",
    model_types=("glm4v_moe",),
    ids=("glm-4[._]5v", "glm-4[._]6v(?!-flash)"),
    vision=("visual",),
    projector=("visual.merger", "visual.downsample"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2507.01006", "arXiv:2304.08485"),
    image_cost=merged_grid(),
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
    batches="padded",
)
