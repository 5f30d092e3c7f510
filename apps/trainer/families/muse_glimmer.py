"""Muse Glimmer: an adapter and a projection behind the tower."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="muse_glimmer",
    model_types=("muse_glimmer",),
    ids=("muse-glimmer",),
    vision=("vision_tower",),
    projector=("vision_adapter", "vision_projection"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid("vision_config.merge_size"),
    required_inputs=("image_grid_thw",),
    needs=("torchvision",),
)
