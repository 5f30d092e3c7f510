"""GLM-4 of 2025, text only; MLP layers are fused."""

from apps.trainer.families import Family

FAMILY = Family(
    name="glm4",
    model_types=("glm4",),
    ids=("glm-4-(9b|32b)-.*0414",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2406.12793",),
    trainer="text",
    loader="AutoModelForCausalLM",
    stands_for={"gate_proj": ("gate_up_proj",), "up_proj": ("gate_up_proj",)},
)
