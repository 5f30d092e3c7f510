"""OLMo 2."""

from apps.trainer.families import Family

FAMILY = Family(
    name="olmo2",
    model_types=("olmo2",),
    ids=("olmo-2-",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2501.00656",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
