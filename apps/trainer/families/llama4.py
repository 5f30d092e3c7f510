"""Llama 4: half the projector is `vision_adapter`, inside the vision model."""

from apps.trainer.families import Family
from apps.trainer.families.counts import ratio, tiles

FAMILY = Family(
    name="llama4",
    model_types=("llama4",),
    ids=("llama-4-",),
    vision=("vision_model",),
    projector=("vision_model.vision_adapter", "multi_modal_projector"),
    language=("language_model",),
    head=("language_model.lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=tiles(ratio("vision_config.pixel_shuffle_ratio")),
    image_texts=(
        "<|image_start|>",
        "<|image_end|>",
        "<|image|>",
        "<|patch|>",
        "<|tile_x_separator|>",
        "<|tile_y_separator|>",
    ),
    needs=("torchvision",),
    batches="padded",
)
