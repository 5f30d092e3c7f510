"""LLaVA-NeXT: an image in tiles, rows of features ended by the parameter `image_newline`."""

from apps.trainer.families import Family
from apps.trainer.families.counts import anyres

FAMILY = Family(
    name="llava_next",
    model_types=("llava_next", "llava_next_video"),
    ids=("llava-v?1[._]6", "llava-next(?!.*interleave)"),
    vision=("vision_tower",),
    projector=("multi_modal_projector", "image_newline"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2310.03744", "arXiv:2304.08485"),
    image_cost=anyres,
    required_inputs=("image_sizes",),
    batches="padded",
)
