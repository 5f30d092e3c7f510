"""Inkling 2: the projector is `vision_tower.merger`, inside the tower."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="inkling2",
    model_types=("inkling2",),
    ids=("inkling-?2",),
    vision=("vision_tower",),
    projector=("vision_tower.merger",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(1),
    required_inputs=("image_grid_thw",),
    needs=("torchvision",),
)
