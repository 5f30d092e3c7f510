"""Mistral Small 3.1 and Ministral 3: Pixtral's tower, patches merged before projection."""

from apps.trainer.families import Family
from apps.trainer.families.counts import image_sizes

FAMILY = Family(
    name="mistral3",
    model_types=("mistral3",),
    ids=(r"ministral-3-\d+b", "mistral-small-3[._][12]"),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2410.07073", "arXiv:2601.08584", "arXiv:2304.08485"),
    image_cost=image_sizes("spatial_merge_size"),
    required_inputs=("image_sizes",),
    image_texts=("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
    batches="padded",
)
