"""Gemma, text only."""

from apps.trainer.families import Family

FAMILY = Family(
    name="gemma",
    model_types=("gemma",),
    ids=("(^|/)gemma-(2b|7b|1[._]1)", "codegemma"),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2403.08295",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
