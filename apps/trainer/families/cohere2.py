"""Command R7B and Command A, text only."""

from apps.trainer.families import Family

FAMILY = Family(
    name="cohere2",
    model_types=("cohere2",),
    ids=("c4ai-command-(r7b|a)", "command-a-(?!vision)"),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2504.00698",),
    trainer="text",
    loader="AutoModelForCausalLM",
)
