"""Video-LLaVA: one tower for images, one for videos, one projector."""

from apps.trainer.families import Family
from apps.trainer.families.counts import every_patch, tiles

FAMILY = Family(
    name="video_llava",
    model_types=("video_llava",),
    ids=("video-llava",),
    vision=("image_tower", "video_tower"),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2311.10122", "arXiv:2304.08485"),
    image_cost=tiles(every_patch, keys=("pixel_values", "pixel_values_images")),
)
