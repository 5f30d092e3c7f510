"""Janus: understanding and generation of images share a language model; generation counts as head."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

FAMILY = Family(
    name="janus",
    model_types=("janus",),
    ids=("janus",),
    vision=("vision_model",),
    projector=("aligner",),
    language=("language_model",),
    head=("lm_head", "vqmodel", "generation_embeddings", "generation_aligner", "generation_head"),
    papers=("arXiv:2410.13848", "arXiv:2501.17811", "arXiv:2304.08485"),
    image_cost=tiles(shuffled(1)),
    image_texts=("<image_placeholder>", "<begin_of_image>", "<end_of_image>"),
    batches="padded",
)
