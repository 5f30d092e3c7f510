"""ViP-LLaVA: features of five layers of the tower, side by side."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

FAMILY = Family(
    name="vipllava",
    model_types=("vipllava",),
    ids=("vip-?llava",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2312.00784", "arXiv:2304.08485"),
    image_cost=tiles(shuffled(1)),
    batches="padded",
)
