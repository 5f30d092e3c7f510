"""BLIP-2: a Q-Former turns an image into a few tokens."""

from apps.trainer.families import Family
from apps.trainer.families.counts import fixed, tiles

FAMILY = Family(
    name="blip2",
    model_types=("blip-2",),
    ids=("blip2",),
    vision=("vision_model",),
    projector=("query_tokens", "qformer", "language_projection"),
    language=("language_model",),
    head=("language_model.lm_head",),
    papers=("arXiv:2301.12597",),
    image_cost=tiles(fixed("num_query_tokens")),
    stands_for={"o_proj": ("out_proj",), "up_proj": ("fc1",), "down_proj": ("fc2",)},
    image_texts=("<image>",),
)
