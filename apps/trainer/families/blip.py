"""BLIP: a BERT decoder attends to the image by cross-attention."""

from apps.trainer.families import Family
from apps.trainer.families.counts import fixed, tiles

FAMILY = Family(
    name="blip",
    model_types=("blip",),
    ids=("(^|/)blip-(image|vqa|itm)",),
    vision=("vision_model",),
    language=("text_decoder",),
    head=("text_decoder.cls",),
    papers=("arXiv:2201.12086",),
    image_cost=tiles(fixed(0)),
    stands_for={
        "q_proj": ("query",),
        "k_proj": ("key",),
        "v_proj": ("value",),
        "o_proj": ("dense",),
        "up_proj": ("dense",),
        "down_proj": ("dense",),
    },
)
