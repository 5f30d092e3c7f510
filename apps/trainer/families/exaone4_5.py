"""EXAONE 4.5: Qwen2.5-VL's tower before EXAONE 4."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="exaone4_5",
    model_types=("exaone4_5",),
    ids=("exaone-4[._]5",),
    vision=("visual",),
    projector=("visual.merger",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(),
    required_inputs=("image_grid_thw",),
    pixel_limits=True,
)
