"""GIT: image features stand before the text, without placeholders."""

from apps.trainer.families import Family
from apps.trainer.families.counts import fixed, tiles

FAMILY = Family(
    name="git",
    model_types=("git",),
    ids=("(^|/)git-(base|large)",),
    vision=("git.image_encoder",),
    projector=("git.visual_projection", "git.img_temporal_embedding"),
    language=("git.embeddings", "git.encoder"),
    head=("output",),
    papers=("arXiv:2205.14100",),
    image_cost=tiles(fixed(0)),
    stands_for={
        "q_proj": ("query",),
        "k_proj": ("key",),
        "v_proj": ("value",),
        "o_proj": ("dense",),
        "up_proj": ("dense",),
        "down_proj": ("dense",),
    },
)
