"""Llama 2 and 3, and the many models of its layout."""

from apps.trainer.families import Family

FAMILY = Family(
    name="llama",
    model_types=("llama",),
    ids=(
        r"(^|/)(meta-)?llama-[23]([._][0-3])?-\d+b(?!.*vision)",
        "tinyllama",
        "smollm2?-",
        "(^|/)vicuna-",
        r"yi-(1[._]5-)?\d+b",
    ),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2302.13971", "arXiv:2407.21783"),
    trainer="text",
    loader="AutoModelForCausalLM",
    batches="padded",
)
