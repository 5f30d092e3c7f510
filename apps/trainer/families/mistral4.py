"""Mistral 4: latent attention, experts; text only."""

from apps.trainer.families import Family

FAMILY = Family(
    name="mistral4",
    model_types=("mistral4",),
    ids=("(^|/)mistral-(medium|small)-4",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2106.09685",),
    trainer="text",
    loader="AutoModelForImageTextToText",
    stands_for={
        "q_proj": ("q_a_proj", "q_b_proj"),
        "k_proj": ("kv_a_proj_with_mqa", "kv_b_proj"),
        "v_proj": ("kv_a_proj_with_mqa", "kv_b_proj"),
    },
)
