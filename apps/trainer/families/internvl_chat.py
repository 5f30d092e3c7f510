"""InternVL 1.5 to 3.5 by its repository's code; InternLM2, Qwen or Llama as language model."""

from apps.trainer.families import Family
from apps.trainer.families.counts import ratio, tiles

FAMILY = Family(
    name="internvl_chat",
    model_types=("internvl_chat",),
    ids=(r"internvl(?!.*-hf)",),
    vision=("vision_model",),
    projector=("mlp1",),
    language=("language_model",),
    head=("language_model.lm_head", "language_model.output"),
    papers=("arXiv:2312.14238", "arXiv:2404.16821", "arXiv:2304.08485"),
    image_cost=tiles(ratio("downsample_ratio")),
    loader="AutoModel",
    code="repository",
    stands_for={
        "q_proj": ("wqkv",),
        "k_proj": ("wqkv",),
        "v_proj": ("wqkv",),
        "o_proj": ("wo",),
        "gate_proj": ("w1",),
        "up_proj": ("w3",),
        "down_proj": ("w2",),
    },
    image_texts=("<img>", "</img>", "<IMG_CONTEXT>"),
)
