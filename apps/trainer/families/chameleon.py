"""Chameleon: images become tokens of the vocabulary through a VQ-VAE."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

PIXELS = 16
"""Pixels per side of one token."""

FAMILY = Family(
    name="chameleon",
    model_types=("chameleon",),
    ids=("chameleon-",),
    vision=("vqmodel",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2405.09818",),
    image_cost=tiles(shuffled(1), patch=PIXELS),
    image_texts=("<image>", "<racm3:break>", "<eoss>"),
)
