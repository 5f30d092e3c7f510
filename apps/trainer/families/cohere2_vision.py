"""Command A Vision: Aya Vision's layout."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

FAMILY = Family(
    name="cohere2_vision",
    model_types=("cohere2_vision",),
    ids=("command-a-vision",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=tiles(shuffled("downsample_factor")),
    image_texts=("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>"),
    needs=("torchvision",),
    batches="padded",
)
