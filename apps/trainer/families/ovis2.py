"""Ovis2: the tower's head chooses visual words, the table embeds them."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

FAMILY = Family(
    name="ovis2",
    model_types=("ovis2",),
    ids=(r"ovis2-.*-hf",),
    vision=("vision_tower",),
    projector=("visual_embeddings_table", "vision_tower.head_linear", "vision_tower.head_norm"),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2405.20797", "arXiv:2304.08485"),
    image_cost=tiles(shuffled("vision_config.hidden_stride")),
    image_texts=("<image>", "<IMG_START>", "<IMG_ATOM>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"),
    batches="padded",
)
