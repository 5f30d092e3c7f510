"""Idefics3: images in tiles, pixel shuffle before the connector."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 9) for column in range(1, 9))
"""What the template writes before each tile of an image."""

FAMILY = Family(
    name="idefics3",
    model_types=("idefics3",),
    ids=("idefics3",),
    vision=("vision_model",),
    projector=("connector",),
    language=("text_model",),
    head=("lm_head",),
    papers=("arXiv:2408.12637", "arXiv:2304.08485"),
    image_cost=tiles(shuffled("scale_factor")),
    required_inputs=("pixel_attention_mask",),
    image_texts=("<image>", "<fake_token_around_image>", "<global-img>", *TILES),
    batches="padded",
)
