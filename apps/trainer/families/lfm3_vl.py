"""LFM3-VL: its own tower before convolutions and attention."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="lfm3_vl",
    model_types=("lfm3_vl",),
    ids=("lfm3-vl",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(),
    stands_for={"o_proj": ("out_proj",), "gate_proj": ("w1",), "up_proj": ("w3",), "down_proj": ("w2",)},
    required_inputs=("image_grid_thw",),
    pixel_limits=True,
)
