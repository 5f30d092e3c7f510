"""Nemotron Parse by its repository's code: RADIO and a neck, then a decoder that writes the page."""

from apps.trainer.families import Family
from apps.trainer.families.counts import fixed, tiles

FAMILY = Family(
    name="nemotron_parse",
    model_types=("nemotron_parse",),
    ids=("nemotron-parse",),
    vision=("encoder",),
    projector=(
        "encoder.conv1",
        "encoder.conv2",
        "encoder.layer_norm1",
        "encoder.layer_norm2",
        "encoder.layer_norm3",
        "encoder.sum_proj",
    ),
    language=("decoder",),
    head=("lm_head", "decoder.extra_heads", "decoder.extra_proj"),
    papers=("arXiv:2511.20478",),
    image_cost=tiles(fixed(0), patch=16),
    loader="AutoModel",
    code="repository",
    stands_for={"o_proj": ("out_proj",), "up_proj": ("fc1",), "down_proj": ("fc2",)},
    labels="decoder_prompt",
)
