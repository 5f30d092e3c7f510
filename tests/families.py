"""One model of every kind that a family describes, at its real default size, on the meta device.

    for label, (family, config) in meta_configs().items():
        model = meta_build(label)  # built once a session

Configs are those of transformers by default; where those cannot be built, or leave towers out, what is
different stands here. Towers that need `timm` are replaced by a SigLIP tower: their own parameters are
not compared, the rest of the model is.
"""

from functools import cache
from typing import Any

from apps.trainer.families import Family, families
from apps.trainer.foreign import quiet

SIGLIP = {
    "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
    "num_hidden_layers": 27, "num_attention_heads": 16, "patch_size": 14, "image_size": 364,
}  # fmt: skip

WITHOUT_TIMM = ("fast_vlm", "gemma3n", "perception_lm")
"""Families whose tower is replaced."""

_BOTH_WAYS = {
    kind: {"rope_type": "default", "rope_theta": 50000.0} for kind in ("full_attention", "sliding_attention")
}

PARAKEET = {"model_type": "parakeet_encoder", "projection_hidden_size": 4096, "projection_bias": False}
MULTI_TOKEN = {"num_nextn_predict_layers": 1}
INDEXED = {
    "indexer_compress_ratio": 4, "indexer_budget": 512, "indexer_n_heads": 4, "indexer_kv_heads": 1,
    "indexer_head_dim": 256,
}  # fmt: skip
TWO_LAYERS = {"num_hidden_layers": 2, "mlp_layer_types": ["dense", "sparse"], "n_group": 1, "topk_group": 1}
QWEN2_HALF_B = {
    "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
    "num_key_value_heads": 2,
}  # fmt: skip
TILED = {
    "downsample_rate": "4/8", "deepstack_layer_map": [[-13, 0], [-7, 3]],
    "spatial_target_layers": [6, 9, 12, 15], "image_grid_pinpoints": [[768, 768]],
    "vision_config": {"image_size": 384, "patch_size": 16},
}  # fmt: skip

CHANGED: dict[str, dict[str, Any]] = {
    "aya_vision": {"vision_config": SIGLIP},
    "chameleon": {"vocabulary_map": {"<image>": 8711}, "vq_config": {}},
    "cohere_compass": {"text_config": {"rope_parameters": _BOTH_WAYS}},
    "deepseek_ocr2": {"text_config": TWO_LAYERS, "vision_config": {"encoder_config": QWEN2_HALF_B}},
    "emu3": {"vocabulary_map": {"<image>": 8711}, "vq_config": {}},
    "gemma3": {"vision_config": {"image_size": 896, "patch_size": 14}},
    "gemma4": {"vision_config": {}, "audio_config": {}},
    "gemma4_unified": {"vision_config": {}, "audio_config": {}},
    "granite4_vision": TILED,
    "llama4": {"vision_config": {"hidden_size": 1408, "vision_output_dim": 4096}},
    "ministral": {"head_dim": 128},
    "perception_lm": {"vision_config": {"model_args": {"embed_dim": 1152}}},
    "hunyuan_vl": {"text_config": {"head_dim": 128}},
    "qwen4_exp": {"text_config": INDEXED},
}  # fmt: skip
"""Arguments of a config class whose defaults cannot be built or leave towers out, by model type."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "git, several frames": ("git", {"num_image_with_embedding": 6}),
    "glm46v, experts": ("glm46v", {"text_config": {"model_type": "glm4v_moe_text"}}),
    "idefics, resampler": ("idefics", {"use_resampler": True}),
    "llava, Pixtral": (
        "llava", {"vision_config": {"model_type": "pixtral"}, "text_config": {"model_type": "mistral"}}
    ),
    "mistral3, Ministral 3": ("mistral3", {"text_config": {"model_type": "ministral3"}}),
    "nemotron_h_omni, audio": ("nemotron_h_omni", {"audio_config": PARAKEET, "text_config": MULTI_TOKEN}),
}  # fmt: skip
"""More models of a type: {label: (model type, arguments of its config)}."""


def meta_labels() -> list[str]:
    """Return the labels of `meta_configs` without loading transformers, for parametrised tests."""
    return [*(name for f in families() if f.checked for name in f.model_types), *VARIANTS]


@cache
def meta_configs() -> dict[str, tuple[Family, Any]]:
    """Return {label: (family, config)} for every model type of the families that transformers can build.

    A label is the model type, or what `VARIANTS` calls it. The config is the one that the family's loader
    takes: of omni models the thinker's.
    """
    types = {name: (name, CHANGED.get(name, {})) for f in families() if f.checked for name in f.model_types}
    owners = {name: f for f in families() for name in f.model_types}
    with quiet():
        return {
            label: (owners[name], _config(owners[name], name, changed))
            for label, (name, changed) in (types | VARIANTS).items()
        }


@cache
def meta_build(label: str) -> Any:
    """Build one of these models on the meta device; the same object each time."""
    import torch
    import transformers

    family, config = meta_configs()[label]
    if family.name in WITHOUT_TIMM:
        _stand_in_for_timm()
    loader = getattr(transformers, family.loader)
    with quiet(), torch.device("meta"):
        return loader.from_config(config) if family.loader.startswith("Auto") else loader(config)


def _config(family: Family, model_type: str, changed: dict[str, Any]) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CONFIG_MAPPING[model_type](**changed)
    return getattr(config, family.config_part, config) if family.config_part else config


@cache
def _stand_in_for_timm() -> None:
    """Let transformers build a SigLIP tower where it would ask `timm` for one."""
    from transformers import AutoModel, SiglipVisionConfig, SiglipVisionModel, TimmWrapperConfig
    from transformers.models.gemma3n.configuration_gemma3n import Gemma3nVisionConfig

    sizes = {key: value for key, value in SIGLIP.items() if key != "model_type"}
    for described in (TimmWrapperConfig, Gemma3nVisionConfig):

        class Tower(SiglipVisionModel):
            config_class = described

            @classmethod
            def _from_config(cls, config: Any, **options: Any) -> Any:
                return SiglipVisionModel._from_config(SiglipVisionConfig(**sizes), **options)

        AutoModel.register(described, Tower, exist_ok=True)
