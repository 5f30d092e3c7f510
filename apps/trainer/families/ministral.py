"""Ministral 8B of 2024, text only."""

from apps.trainer.families import Family

FAMILY = Family(
    name="ministral",
    model_types=("ministral",),
    ids=("ministral-(3b|8b)-instruct-2410",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2106.09685",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
