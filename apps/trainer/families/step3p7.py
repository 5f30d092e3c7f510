"""Step 3.7: two strided convolutions inside the tower, then one projection."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

FAMILY = Family(
    name="step3p7",
    model_types=("step3p7",),
    ids=("step-?3[.p]7",),
    vision=("vision_model",),
    projector=("vision_model.downsampler1", "vision_model.downsampler2", "multi_modal_projector"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2304.08485",),
    image_cost=tiles(shuffled(4), keys=("pixel_values", "pixel_values_local")),
    image_texts=("<im_patch>", "<im_start>", "<im_end>", "<patch_start>", "<patch_end>", "<patch_newline>"),
    needs=("torchvision",),
)
