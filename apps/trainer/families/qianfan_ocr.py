"""Qianfan-OCR: InternVL's layout with its own tower."""

from apps.trainer.families import Family
from apps.trainer.families.counts import ratio, tiles

FAMILY = Family(
    name="qianfan_ocr",
    model_types=("qianfan_ocr",),
    ids=("qianfan-ocr",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=tiles(ratio("downsample_ratio")),
    image_texts=("<img>", "</img>", "<IMG_CONTEXT>"),
)
