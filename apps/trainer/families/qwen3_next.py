"""Qwen3-Next: three of four layers mix tokens by linear attention; experts."""

from apps.trainer.families import Family

FAMILY = Family(
    name="qwen3_next",
    model_types=("qwen3_next",),
    ids=("(^|/)qwen3-(next|coder-next)",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2106.09685",),
    trainer="text",
    loader="AutoModelForCausalLM",
    stands_for={
        "q_proj": ("in_proj_qkvz",),
        "k_proj": ("in_proj_qkvz",),
        "v_proj": ("in_proj_qkvz",),
        "o_proj": ("out_proj",),
    },
)
