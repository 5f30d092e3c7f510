"""DeepSeek-VL 7B: a SAM tower of high resolution beside SigLIP; the aligner joins both."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

FAMILY = Family(
    name="deepseek_vl_hybrid",
    model_types=("deepseek_vl_hybrid",),
    ids=("deepseek-vl-7b",),
    vision=("vision_model", "high_res_vision_model"),
    projector=("aligner", "high_res_vision_neck", "high_res_vision_proj", "high_res_vision_alpha"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2403.05525", "arXiv:2304.08485"),
    image_cost=tiles(shuffled(1)),
    required_inputs=("high_res_pixel_values",),
    image_texts=("<image_placeholder>",),
    batches="padded",
)
