"""PerceptionLM: Perception Encoder, features pooled in the projector."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

PATCH = 14
"""Pixels per side of a patch of the Perception Encoder; its config does not say."""

FAMILY = Family(
    name="perception_lm",
    model_types=("perception_lm",),
    ids=("perception-lm",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2504.13180", "arXiv:2304.08485"),
    image_cost=tiles(shuffled("projector_pooling_ratio"), patch=PATCH),
    image_texts=("<|image|>", "<|video|>"),
    needs=("timm", "torchvision"),
)
