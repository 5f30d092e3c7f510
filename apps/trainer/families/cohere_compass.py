"""Cohere Compass: merger and deepstack mergers lie inside the vision module, as in Qwen3-VL."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="cohere_compass",
    model_types=("cohere_compass",),
    ids=("north-.*vision",),
    vision=("visual",),
    projector=("visual.merger", "visual.deepstack_merger_list"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(),
    required_inputs=("mm_token_type_ids", "image_grid_thw"),
    pixel_limits=True,
)
