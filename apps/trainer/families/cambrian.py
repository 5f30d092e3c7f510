"""Cambrian-1: several towers, joined by a spatial aggregator inside the language model. No auto class."""

from apps.trainer.families import Family

FAMILY = Family(
    name="cambrian",
    model_types=("cambrian_llama", "cambrian_phi3", "cambrian_mistral"),
    ids=("cambrian-",),
    vision=("vision_tower_aux_list",),
    projector=(
        "mm_projector",
        "image_newline",
        "vision_query",
        "mm_projector_aux_0",
        "mm_projector_aux_1",
        "mm_projector_aux_2",
        "mm_projector_aux_3",
        "vision_sampler_0",
        "vision_sampler_1",
        "vision_sampler_2",
        "vision_sampler_3",
        "vision_sampler_layers",
    ),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    head=("lm_head",),
    papers=("arXiv:2406.16860", "arXiv:2304.08485"),
    loader="AutoModelForCausalLM",
    code="none",
    image_texts=("<image>",),
)
