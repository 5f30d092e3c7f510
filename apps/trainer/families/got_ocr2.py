"""GOT-OCR 2: SAM's tower, two strided convolutions as projector."""

from apps.trainer.families import Family
from apps.trainer.families.counts import shuffled, tiles

FAMILY = Family(
    name="got_ocr2",
    model_types=("got_ocr2", "pp_chart2table"),
    ids=("got-ocr", "pp-chart2table"),
    vision=("vision_tower",),
    projector=("multi_modal_projector",),
    language=("language_model",),
    head=("lm_head",),
    papers=("arXiv:2409.01704", "arXiv:2304.08485"),
    image_cost=tiles(shuffled(4)),
    image_texts=("<img>", "</img>", "<imgpad>"),
)
