"""Granite 3, text only."""

from apps.trainer.families import Family

FAMILY = Family(
    name="granite",
    model_types=("granite",),
    ids=(r"granite-3[._]\d-\d+b-(?!.*vision)",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2106.09685",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
