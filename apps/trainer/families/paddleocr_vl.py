"""PaddleOCR-VL: a tower of native resolution, ERNIE as language model."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="paddleocr_vl",
    model_types=("paddleocr_vl",),
    ids=("paddleocr-vl",),
    vision=("visual",),
    projector=("projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2510.14528", "arXiv:2304.08485"),
    image_cost=merged_grid(),
    required_inputs=("mm_token_type_ids", "image_grid_thw"),
    image_texts=("<|IMAGE_PLACEHOLDER|>", "<|IMAGE_START|>", "<|IMAGE_END|>"),
    pixel_limits=True,
    batches="padded",
)
