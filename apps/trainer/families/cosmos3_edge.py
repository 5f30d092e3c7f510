"""Cosmos 3 Edge: the projector merges patches and projects them."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="cosmos3_edge",
    model_types=("cosmos3_edge",),
    ids=("cosmos-?3.*edge",),
    vision=("visual",),
    projector=("projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(),
    stands_for={"up_proj": ("fc1",), "down_proj": ("fc2",)},
    required_inputs=("mm_token_type_ids", "image_grid_thw"),
    pixel_limits=True,
)
