"""Qwen3, text only."""

from apps.trainer.families import Family

FAMILY = Family(
    name="qwen3",
    model_types=("qwen3",),
    ids=(r"(^|/)qwen3-(?!vl|omni|asr|next|coder|embedding|reranker|.*a\d+b)",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2505.09388",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
