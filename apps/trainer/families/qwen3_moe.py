"""Qwen3 with a mixture of experts, text only."""

from apps.trainer.families import Family

FAMILY = Family(
    name="qwen3_moe",
    model_types=("qwen3_moe",),
    ids=(r"(^|/)qwen3-(?!vl|omni|next|coder-next).*a\d+b",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2505.09388",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
