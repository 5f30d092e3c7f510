"""PaliGemma 1 and 2: prefix attention over image and prompt, told by `token_type_ids`."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

FAMILY = Family(
    name="paligemma",
    model_types=("paligemma",),
    ids=("paligemma",),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2407.07726", "arXiv:2412.03555", "arXiv:2304.08485"),
    image_cost=tiles(shuffled(1)),
    required_inputs=("token_type_ids",),
    image_texts=("<image>",),
    batches="padded",
)
