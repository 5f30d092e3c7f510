"""OLMo 3."""

from apps.trainer.families import Family

FAMILY = Family(
    name="olmo3",
    model_types=("olmo3",),
    ids=(r"olmo-3(\.1)?-",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2512.13961",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
