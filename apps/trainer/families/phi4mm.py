"""Phi-4-multimodal by its repository's code, whose language layers carry adapters of their own."""

from apps.trainer.families import Family, phi4_multimodal

FAMILY = Family(
    name="phi4mm",
    model_types=("phi4mm",),
    ids=(),
    vision=("embed_tokens_extend.image_embed.img_processor",),
    projector=("embed_tokens_extend.image_embed",),
    language=("embed_tokens", "layers", "norm", "rotary_emb"),
    audio=("embed_tokens_extend.audio_embed",),
    head=("lm_head",),
    papers=("arXiv:2503.01743", "arXiv:2304.08485"),
    image_cost=phi4_multimodal.FAMILY.image_cost,
    loader="AutoModelForCausalLM",
    code="repository",
    stands_for={
        "q_proj": ("qkv_proj",),
        "k_proj": ("qkv_proj",),
        "v_proj": ("qkv_proj",),
        "gate_proj": ("gate_up_proj",),
        "up_proj": ("gate_up_proj",),
    },
    required_inputs=("input_image_embeds", "image_sizes", "image_attention_mask"),
    image_texts=tuple(f"<|{kind}_{number}|>" for kind in ("image", "audio") for number in range(1, 33)),
)
