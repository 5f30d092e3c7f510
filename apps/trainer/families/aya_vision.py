"""Aya Vision: pixel shuffle inside the projector, tiles and a thumbnail."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

FAMILY = Family(
    name="aya_vision",
    model_types=("aya_vision",),
    ids=("aya-vision",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2505.08751", "arXiv:2304.08485"),
    image_cost=tiles(shuffled("downsample_factor")),
    image_texts=("<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>"),
    batches="padded",
)
