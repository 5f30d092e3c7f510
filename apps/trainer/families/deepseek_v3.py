"""DeepSeek-V3 and R1: latent attention, experts."""

from apps.trainer.families import Family

FAMILY = Family(
    name="deepseek_v3",
    model_types=("deepseek_v3",),
    ids=("deepseek-(v3|r1)(?!-distill)",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2412.19437",),
    trainer="text",
    loader="AutoModelForCausalLM",
    stands_for={
        "q_proj": ("q_a_proj", "q_b_proj"),
        "k_proj": ("kv_a_proj_with_mqa", "kv_b_proj"),
        "v_proj": ("kv_a_proj_with_mqa", "kv_b_proj"),
    },
)
