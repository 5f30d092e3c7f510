"""Idefics: gated cross-attention layers between the language layers."""

from apps.trainer.families import Family
from apps.trainer.families.counts import attended

FAMILY = Family(
    name="idefics",
    model_types=("idefics",),
    ids=(r"idefics-\d+b",),
    vision=("vision_model",),
    projector=("perceiver_resampler",),
    language=("embed_tokens", "layers", "gated_cross_attn_layers", "norm"),
    head=("lm_head",),
    papers=("arXiv:2306.16527", "arXiv:2304.08485"),
    image_cost=attended("image_attention_mask"),
    required_inputs=("image_attention_mask",),
    image_texts=("<image>", "<fake_token_around_image>"),
    mixes_text=False,
    batches="padded",
)
