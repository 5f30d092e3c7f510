"""Gemma 2, text only."""

from apps.trainer.families import Family

FAMILY = Family(
    name="gemma2",
    model_types=("gemma2",),
    ids=("(^|/)gemma-2-",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2408.00118",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
