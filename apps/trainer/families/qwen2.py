"""Qwen 1.5, 2 and 2.5, text only."""

from apps.trainer.families import Family

FAMILY = Family(
    name="qwen2",
    model_types=("qwen2",),
    ids=(
        r"(^|/)qwen(1[._]5|2|2[._]5)-(?!vl|omni|audio|.*a\d+(\.\d+)?b)",
        "qwq-32b",
        "deepseek-r1-distill-qwen",
    ),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2407.10671", "arXiv:2412.15115"),
    trainer="text",
    loader="AutoModelForCausalLM",
    batches="padded",
)
