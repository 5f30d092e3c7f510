"""Counting for towers that look at values, and so cannot run on the meta device: small random models."""

from typing import Any

import pytest

from apps.trainer.families import families
from apps.trainer.foreign import quiet
from tests.meta import feature_rows

TEXT = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 512, "head_dim": 16,
}  # fmt: skip
TOWER = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
PIXTRAL = {
    "vision_config": {"model_type": "pixtral", **TOWER, "patch_size": 14, "image_size": 644},
    "text_config": {"model_type": "mistral", **TEXT},
}
SQUARE = {**TOWER, "image_size": 56, "patch_size": 14}
PERCEIVER = {
    "hidden_size": 64, "resampler_n_latents": 6, "resampler_depth": 1, "resampler_n_heads": 4,
    "resampler_head_dim": 16, "num_key_value_heads": 2,
}  # fmt: skip
OPT = {
    "model_type": "opt", "hidden_size": 64, "word_embed_proj_dim": 64, "ffn_dim": 64, "num_hidden_layers": 1,
    "num_attention_heads": 4,
}  # fmt: skip

CONFIGS: dict[str, dict[str, Any]] = {
    "mistral3": PIXTRAL,
    "llava": {**PIXTRAL, "vision_feature_layer": -1, "vision_feature_select_strategy": "full"},
    "lfm2_vl": {
        "vision_config": {
            "model_type": "siglip2_vision_model", **TOWER, "patch_size": 14, "num_patches": 256
        },
        "text_config": {"model_type": "lfm2", **TEXT},
    },
    "blip-2": {
        "vision_config": SQUARE, "qformer_config": {**TOWER, "encoder_hidden_size": 64}, "text_config": OPT,
        "num_query_tokens": 8,
    },
    "minicpmv4_6": {
        "vision_config": {**TOWER, "patch_size": 14, "image_size": 448},
        "text_config": {"model_type": "qwen3_5_text", **TEXT},
    },
    "idefics2": {
        "vision_config": SQUARE, "perceiver_config": PERCEIVER,
        "text_config": {"model_type": "mistral", **TEXT},
    },
    "idefics3": {"vision_config": SQUARE, "scale_factor": 2, "text_config": {"model_type": "llama", **TEXT}},
    "hunyuan_vl": {"vision_config": {**TOWER, "patch_size": 16, "out_hidden_size": 64}, "text_config": TEXT},
}  # fmt: skip

TOKENS = {
    "mistral3": 16 * 23 + 15 * 8,
    "llava": 32 * 46 + 30 * 16,
    "lfm2_vl": 15 * 16 + 8 * 8,
    "blip-2": 16,
    "minicpmv4_6": 6 + 16,
    "idefics2": 12,
    "idefics3": 12,
    "hunyuan_vl": (4 * 7 + 2) + (2 * 3 + 2),
}


def batch_for(model_type: str) -> dict[str, Any]:
    import torch

    zeros, ones, tensor = torch.zeros, torch.ones, torch.tensor
    sizes = tensor([[448, 644], [420, 224]])
    unpadded = {"pixel_values": zeros(2, 3, 448, 644), "image_sizes": sizes}
    there = ones(2, 1024).cumsum(1) <= tensor([[30 * 32], [256]])
    tiles = {"pixel_values": ones(1, 2, 3, 56, 56), "pixel_attention_mask": ones(1, 2, 56, 56).bool()}
    three = {"pixel_values": ones(1, 3, 3, 56, 56), "pixel_attention_mask": ones(1, 3, 56, 56).bool()}
    batches = {
        "mistral3": unpadded,
        "llava": unpadded,
        "lfm2_vl": {
            "pixel_values": zeros(2, 1024, 588),
            "spatial_shapes": tensor([[30, 32], [16, 16]]),
            "pixel_attention_mask": there.long(),
        },
        "blip-2": {"pixel_values": zeros(2, 3, 56, 56)},
        "minicpmv4_6": {
            "pixel_values": zeros(1, 3, 14, 14 * (8 * 12 + 16 * 16)),
            "target_sizes": tensor([[8, 12], [16, 16]]),
        },
        "idefics2": tiles,
        "idefics3": three,
        "hunyuan_vl": {
            "pixel_values": zeros(112, 768), "image_grid_thw": tensor([[1, 8, 12], [1, 4, 4]])
        },
    }  # fmt: skip
    return batches[model_type]


@pytest.mark.parametrize("model_type", CONFIGS)
def test_a_family_counts_the_rows_that_its_model_makes(model_type: str):
    import torch
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    family = next(each for each in families() if model_type in each.model_types)
    with quiet():
        config = CONFIG_MAPPING[model_type](**CONFIGS[model_type])
        model = getattr(transformers, family.loader).from_config(config).eval()
    batch = batch_for(model_type)
    with torch.no_grad():
        made = feature_rows(model.get_image_features(**batch))
    assert family.image_cost(batch, model.config).tokens == made == TOKENS[model_type]
