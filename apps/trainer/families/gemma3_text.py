"""Gemma 3 of 270M and 1B, which see no images."""

from apps.trainer.families import Family

FAMILY = Family(
    name="gemma3_text",
    model_types=("gemma3_text",),
    ids=("(^|/)gemma-3-(270m|1b)", "medgemma-27b-text"),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2503.19786",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
