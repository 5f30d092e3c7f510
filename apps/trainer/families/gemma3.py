"""Gemma 3: the projection is a bare matrix, the tokens of one image attend to each other."""

from apps.trainer.families import Family
from apps.trainer.families.counts import fixed, tiles

FAMILY = Family(
    name="gemma3",
    model_types=("gemma3",),
    ids=("gemma-3-(4|12|27)b", "medgemma-(4|27)b(?!-text)"),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2503.19786", "arXiv:2304.08485"),
    image_cost=tiles(fixed("mm_tokens_per_image")),
    required_inputs=("token_type_ids",),
    image_texts=("<start_of_image>", "<image_soft_token>", "<end_of_image>"),
    batches="padded",
)
