"""T5Gemma 2: an encoder that sees the images, a decoder that answers."""

from apps.trainer.families import Family
from apps.trainer.families.counts import fixed, tiles

FAMILY = Family(
    name="t5gemma2",
    model_types=("t5gemma2",),
    ids=("t5gemma-?2",),
    vision=("encoder.vision_tower",),
    projector=("encoder.multi_modal_projector",),
    language=("encoder.text_model", "decoder"),
    head=("lm_head",),
    papers=("arXiv:2512.14856",),
    image_cost=tiles(fixed("encoder.mm_tokens_per_image"), patch="encoder.vision_config.patch_size"),
    image_texts=("<start_of_image>", "<image_soft_token>", "<end_of_image>"),
    image_place="<start_of_image>",
    labels="decoder",
    batches="padded",
)
