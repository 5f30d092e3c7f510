"""GLM-4.1V and GLM-4.6V-Flash: a strided convolution and a gated merger; MLP layers are fused."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="glm4v",
    model_types=("glm4v", "glm46v", "glmga"),
    ids=("glm-4[._]1v", "glm-4[._]6v-flash"),
    vision=("visual",),
    projector=("visual.merger", "visual.downsample"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2507.01006", "arXiv:2304.08485"),
    image_cost=merged_grid(),
    stands_for={"gate_proj": ("gate_up_proj",), "up_proj": ("gate_up_proj",)},
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
