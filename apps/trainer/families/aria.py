"""Aria: a fixed number of queries per tile, a language model of experts."""

from typing import Any

from apps.trainer.families import Family
from apps.trainer.families.counts import tiles


def queries(config: Any, rows: int, columns: int) -> int:
    """A tile makes as many tokens as the config pairs with its number of patches."""
    table = {int(patches): int(count) for patches, count in config.projector_patch_to_query_dict.items()}
    return table[rows * columns]


FAMILY = Family(
    name="aria",
    model_types=("aria",),
    ids=("rhymes-ai/aria", "(^|/)aria$"),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2410.05993", "arXiv:2304.08485"),
    image_cost=tiles(queries),
    image_texts=("<fim_prefix>", "<fim_suffix>", "<|img|>"),
)
