"""LFM2-VL: SigLIP 2 before short convolutions and attention; MLP layers are w1, w2, w3."""

from apps.trainer.families import Family
from apps.trainer.families.counts import padded_grid

FAMILY = Family(
    name="lfm2_vl",
    model_types=("lfm2_vl",),
    ids=(r"lfm2(\.5)?-vl",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2511.23404", "arXiv:2304.08485"),
    image_cost=padded_grid("downsample_factor", key="spatial_shapes"),
    stands_for={"o_proj": ("out_proj",), "gate_proj": ("w1",), "up_proj": ("w3",), "down_proj": ("w2",)},
    required_inputs=("spatial_shapes", "pixel_attention_mask"),
    image_texts=("<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>"),
    needs=("torchvision",),
    batches="padded",
)
