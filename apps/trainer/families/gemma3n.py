"""Gemma 3n: MobileNetV5 tower, audio tower, an embedding for each language layer."""

from apps.trainer.families import Family
from apps.trainer.families.counts import fixed, tiles

PATCH = 16
"""Pixels per side of MobileNetV5's feature cells before pooling; its config does not say."""

FAMILY = Family(
    name="gemma3n",
    model_types=("gemma3n",),
    ids=("gemma-3n",),
    vision=("vision_tower",),
    projector=("embed_vision",),
    language=("language_model",),
    audio=("audio_tower", "embed_audio"),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=tiles(fixed("vision_soft_tokens_per_image"), patch=PATCH),
    image_texts=("<start_of_image>", "<image_soft_token>", "<end_of_image>", "<audio_soft_token>"),
    needs=("timm", "torchvision"),
)
