"""Llama 3.2 Vision: language layers attend to tiles by cross-attention."""

from apps.trainer.families import Family
from apps.trainer.families.counts import attended

FAMILY = Family(
    name="mllama",
    model_types=("mllama",),
    ids=("llama-3[._]2-(11|90)b-vision",),
    vision=("vision_model",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2407.21783", "arXiv:2304.08485"),
    image_cost=attended("cross_attention_mask", real="aspect_ratio_mask"),
    required_inputs=("aspect_ratio_ids", "aspect_ratio_mask", "cross_attention_mask"),
    image_texts=("<|image|>",),
    mixes_text=False,
    batches="padded",
)
