"""InstructBLIP: the Q-Former reads the instruction too."""

from apps.trainer.families import Family
from apps.trainer.families.counts import fixed, tiles

FAMILY = Family(
    name="instructblip",
    model_types=("instructblip", "instructblipvideo"),
    ids=("instructblip",),
    vision=("vision_model",),
    projector=("query_tokens", "qformer", "language_projection"),
    language=("language_model",),
    head=("language_model.lm_head",),
    papers=("arXiv:2305.06500",),
    image_cost=tiles(fixed("num_query_tokens")),
    stands_for={"o_proj": ("out_proj",), "up_proj": ("fc1",), "down_proj": ("fc2",)},
    required_inputs=("qformer_input_ids", "qformer_attention_mask"),
    image_texts=("<image>",),
)
