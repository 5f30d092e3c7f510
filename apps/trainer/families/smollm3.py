"""SmolLM3."""

from apps.trainer.families import Family

FAMILY = Family(
    name="smollm3",
    model_types=("smollm3",),
    ids=("smollm3",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2106.09685",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
