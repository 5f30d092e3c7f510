"""MiniMax M3 VL: a projector in two steps before a mixture of experts."""

from apps.trainer.families import Family
from apps.trainer.families.counts import merged_grid

FAMILY = Family(
    name="minimax_m3_vl",
    model_types=("minimax_m3_vl",),
    ids=("minimax-m3",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=merged_grid(),
    stands_for={"gate_proj": ("gate_up_proj",), "up_proj": ("gate_up_proj",)},
    required_inputs=("image_grid_thw",),
    needs=("torchvision",),
    pixel_limits=True,
)
