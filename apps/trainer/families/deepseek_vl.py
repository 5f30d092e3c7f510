"""DeepSeek-VL: SigLIP tower and an aligner."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

FAMILY = Family(
    name="deepseek_vl",
    model_types=("deepseek_vl",),
    ids=("deepseek-vl-(1[._]3b)",),
    vision=("vision_model",),
    projector=("aligner",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2403.05525", "arXiv:2304.08485"),
    image_cost=tiles(shuffled(1)),
    image_texts=("<image_placeholder>",),
    batches="padded",
)
