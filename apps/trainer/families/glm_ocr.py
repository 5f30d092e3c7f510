"""GLM-OCR: GLM-4.1V's layout at small size."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="glm_ocr",
    model_types=("glm_ocr",),
    ids=("glm-ocr",),
    vision=("visual",),
    projector=("visual.merger", "visual.downsample"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
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
