"""The language model of Ministral 3 by itself."""

from apps.trainer.families import Family

FAMILY = Family(
    name="ministral3",
    model_types=("ministral3",),
    ids=(),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2601.08584",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
