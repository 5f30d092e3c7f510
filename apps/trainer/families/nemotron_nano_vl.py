"""Nemotron Nano V2 VL by its repository's code: RADIO before a hybrid of Mamba and attention."""

from apps.trainer.families import Family
from apps.trainer.families.counts import ratio, tiles

FAMILY = Family(
    name="nemotron_nano_vl",
    model_types=("NemotronH_Nano_VL_V2",),
    ids=("nemotron-nano-.*v2-vl",),
    vision=("vision_model",),
    projector=("mlp1",),
    language=("language_model",),
    head=("language_model.lm_head",),
    papers=("arXiv:2511.03929", "arXiv:2304.08485"),
    image_cost=tiles(ratio("downsample_ratio"), patch="patch_size"),
    loader="AutoModelForCausalLM",
    code="repository",
    # Mamba's `out_proj` is read by a fused kernel past its module: factors beside it would do nothing.
    stands_for={"q_proj": ("in_proj",), "k_proj": ("in_proj",), "v_proj": ("in_proj",)},
    image_texts=("<image>", "<img>", "</img>"),
)
