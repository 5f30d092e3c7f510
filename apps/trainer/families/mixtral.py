"""Mixtral: Mistral with a mixture of experts."""

from apps.trainer.families import Family

FAMILY = Family(
    name="mixtral",
    model_types=("mixtral",),
    ids=("mixtral-8x",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2401.04088",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
