"""InternVL 2.5, 3 and 3.5 in the layout of transformers (`-hf`)."""

from apps.trainer.families import Family
from apps.trainer.families.counts import ratio, tiles

FAMILY = Family(
    name="internvl",
    model_types=("internvl",),
    ids=(r"internvl.*-hf",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2312.14238", "arXiv:2508.18265", "arXiv:2304.08485"),
    image_cost=tiles(ratio("downsample_ratio")),
    image_texts=("<img>", "</img>", "<IMG_CONTEXT>"),
    batches="padded",
)
