"""Idefics2: a perceiver makes the same number of tokens of any image."""

from apps.trainer.families import Family
from apps.trainer.families.counts import fixed, tiles

FAMILY = Family(
    name="idefics2",
    model_types=("idefics2",),
    ids=("idefics2",),
    vision=("vision_model",),
    projector=("connector",),
    language=("text_model",),
    head=("lm_head",),
    papers=("arXiv:2405.02246", "arXiv:2304.08485"),
    image_cost=tiles(fixed("perceiver_config.resampler_n_latents")),
    required_inputs=("pixel_attention_mask",),
    image_texts=("<image>", "<fake_token_around_image>"),
    batches="padded",
)
