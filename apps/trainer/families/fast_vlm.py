"""FastVLM: a convolutional tower (FastViTHD), a LLaVA projector."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

PIXELS = 64
"""Pixels per side of one feature of FastViTHD; its config does not say."""

FAMILY = Family(
    name="fast_vlm",
    model_types=("fast_vlm",),
    ids=("fastvlm",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2412.13303", "arXiv:2304.08485"),
    image_cost=tiles(shuffled(1), patch=PIXELS),
    image_texts=("<image>",),
    needs=("timm", "torchvision"),
)
