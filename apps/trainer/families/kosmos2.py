"""Kosmos-2: latent queries gather the image before a decoder."""

from apps.trainer.families import Family
from apps.trainer.families.counts import fixed, tiles

FAMILY = Family(
    name="kosmos2",
    model_types=("kosmos-2",),
    ids=(r"kosmos-2(?![.\d])",),
    vision=("vision_model",),
    projector=("image_to_text_projection",),
    language=("text_model",),
    head=("text_model.lm_head",),
    papers=("arXiv:2306.14824",),
    image_cost=tiles(fixed("latent_query_num")),
    stands_for={"o_proj": ("out_proj",), "up_proj": ("fc1",), "down_proj": ("fc2",)},
    required_inputs=("image_embeds_position_mask",),
    image_texts=("<image>", "</image>"),
)
