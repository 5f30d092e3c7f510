"""HyperCLOVA X Vision v2: Qwen2.5-VL's tower and one more projection."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="hyperclovax_vision_v2",
    model_types=("hyperclovax_vision_v2",),
    ids=("hyperclovax.*(think|omni|vision)",),
    vision=("vision_model",),
    projector=("vision_model.merger", "projector"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(),
    required_inputs=("image_grid_thw",),
    pixel_limits=True,
)
