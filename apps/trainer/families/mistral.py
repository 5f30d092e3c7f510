"""Mistral 7B, Nemo and Small, text only."""

from apps.trainer.families import Family

FAMILY = Family(
    name="mistral",
    model_types=("mistral",),
    ids=("(^|/)mistral-(7b|nemo|small-(24b|instruct|2409))", "zephyr-7b", "openhermes-2[._]5-mistral"),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2310.06825",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
