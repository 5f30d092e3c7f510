"""Muse Spark: an adapter and a projection behind the tower, an audio tower, experts."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="muse_spark",
    model_types=("muse_spark",),
    ids=("muse-spark",),
    vision=("vision_tower",),
    projector=("vision_adapter", "vision_projection"),
    language=("language_model",),
    audio=("audio_tower",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid("vision_config.merge_size"),
    required_inputs=("image_grid_thw",),
    needs=("torchvision",),
)
