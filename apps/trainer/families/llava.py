"""LLaVA 1.5, and Pixtral in its class: the projector stands beside the vision tower."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.families import Family, ImageCost
from apps.trainer.families.counts import every_patch, image_sizes, tiles

_ONE_SIZE, _ANY_SIZE = tiles(every_patch), image_sizes()


def image_cost(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Count patches; Pixtral's images keep their sizes, and `image_sizes` has them."""
    return (_ANY_SIZE if "image_sizes" in batch else _ONE_SIZE)(batch, config)


FAMILY = Family(
    name="llava",
    model_types=("llava",),
    ids=(
        r"llava-1[._]5",
        r"llava-v1[._]5",
        "bakllava",
        "llava-interleave",
        "llava-(llama-3|phi-3)",
        "pixtral-12b",
    ),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485", "arXiv:2310.03744"),
    image_cost=image_cost,
    image_texts=("<image>", "[IMG]", "[IMG_BREAK]", "[IMG_END]"),
    batches="padded",
)
