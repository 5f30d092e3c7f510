"""Qwen 1.5 and 2 with a mixture of experts, text only."""

from apps.trainer.families import Family

FAMILY = Family(
    name="qwen2_moe",
    model_types=("qwen2_moe",),
    ids=(r"(^|/)qwen(1[._]5|2)-.*a\d+(\.\d+)?b",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2407.10671",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
