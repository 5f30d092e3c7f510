"""Phi-3, Phi-3.5 and Phi-4, text only; layers are fused."""

from apps.trainer.families import Family

FAMILY = Family(
    name="phi3",
    model_types=("phi3",),
    ids=("(^|/)phi-3([._]5)?-(mini|small|medium)", "(^|/)phi-4(?!.*(multimodal|vision))"),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2404.14219", "arXiv:2412.08905"),
    trainer="text",
    loader="AutoModelForCausalLM",
    stands_for={
        "q_proj": ("qkv_proj",),
        "k_proj": ("qkv_proj",),
        "v_proj": ("qkv_proj",),
        "gate_proj": ("gate_up_proj",),
        "up_proj": ("gate_up_proj",),
    },
)
