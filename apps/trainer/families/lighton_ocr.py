"""LightOnOCR: Pixtral's tower before a small Qwen3."""

from apps.trainer.families import Family
from apps.trainer.families.counts import image_sizes

FAMILY = Family(
    name="lighton_ocr",
    model_types=("lighton_ocr",),
    ids=("lightonocr",),
    vision=("vision_encoder",),
    projector=("vision_projection",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2601.14251", "arXiv:2304.08485"),
    image_cost=image_sizes("spatial_merge_size"),
    required_inputs=("image_sizes",),
    image_texts=("<|image_pad|>", "<|vision_pad|>", "<|vision_end|>"),
    batches="padded",
)
