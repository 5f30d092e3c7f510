"""Counting: as many placeholders as the model makes feature rows, for real sizes and no weights.

The model's own `get_image_features` runs on the meta device, where tensors have shapes and no values, and
the rows it returns are compared with what the family counts from the same batch.
"""

from types import SimpleNamespace
from typing import Any

import pytest

from apps.trainer.families import Family, families
from apps.trainer.families.counts import best_resolution, unpadded
from tests.families import meta_build, meta_configs
from tests.meta import feature_rows, following_meta


def family(name: str) -> Family:
    return next(each for each in families() if each.name == name)


def grids(width: int) -> dict[str, Any]:
    """Two images of 8 by 12 and 4 by 4 patches, as a processor for Qwen's kin returns them."""
    return {"pixel_values": (112, width), "image_grid_thw": [[1, 8, 12], [1, 4, 4]]}


UNPADDED = {"pixel_values": (2, 3, 448, 644), "image_sizes": [[448, 644], [420, 224]]}
NATIVE = {"pixel_values": (112, 3, 14, 14), "image_grid_thw": [[1, 8, 12], [1, 4, 4]]}
ANYRES = {"pixel_values": (2, 5, 3, 336, 336), "image_sizes": [[700, 500], [333, 1000]]}

BATCHES: dict[str, tuple[dict[str, Any], int]] = {
    "aya_vision": ({"pixel_values": (3, 3, 364, 364)}, 507),
    "cohere2_vision": ({"pixel_values": (3, 3, 512, 512)}, 768),
    "cohere_compass": (grids(1536), 28),
    "cosmos3_edge": (grids(768), 28),
    "cosmos3_omni": (grids(1536), 28),
    "deepseek_ocr2": (
        {
            "pixel_values": (2, 3, 1024, 1024),
            "pixel_values_local": (6, 3, 768, 768),
            "num_local_patches": [6, 0],
        },
        2 * 257 + 6 * 144,
    ),
    "deepseek_vl": ({"pixel_values": (2, 3, 224, 224)}, 392),
    "deepseek_vl_hybrid": (
        {"pixel_values": (2, 3, 224, 224), "high_res_pixel_values": (2, 3, 1024, 1024)},
        392,
    ),
    "ernie4_5_vl_moe": (grids(588), 28),
    "exaone4_5": (grids(1176), 28),
    "florence2": ({"pixel_values": (2, 3, 768, 768)}, 2 * 577),
    "gemma3": ({"pixel_values": (2, 3, 896, 896)}, 512),
    "glm4v": (grids(1176), 28),
    "glm4v_moe": (grids(1176), 28),
    "glm5_next": (grids(1176), 28),
    "glm_ocr": (grids(1176), 28),
    "got_ocr2": ({"pixel_values": (2, 3, 1024, 1024)}, 512),
    "hyperclovax_vision_v2": (grids(1176), 28),
    "internvl": ({"pixel_values": (3, 3, 448, 448)}, 768),
    "qianfan_ocr": ({"pixel_values": (3, 3, 448, 448)}, 768),
    "janus": ({"pixel_values": (2, 3, 384, 384)}, 1152),
    "kimi_k25": (NATIVE, 28),
    "lfm3_vl": (grids(1536), 28),
    "lighton_ocr": (UNPADDED, 488),
    "llama4": ({"pixel_values": (5, 3, 448, 448)}, 1280),
    "llava": ({"pixel_values": (2, 3, 336, 336)}, 1152),
    "llava_next": (ANYRES, 4584),
    "llava_next_video": (ANYRES, 4584),
    "llava_onevision": ({"pixel_values": (1, 31, 3, 384, 384), "image_sizes": [[2500, 1900]]}, 7261),
    "minimax_m3_vl": (grids(1176), 28),
    "muse_glimmer": (grids(1176), 28),
    "muse_spark": (grids(1176), 28),
    "ovis2": ({"pixel_values": (3, 3, 224, 224)}, 768),
    "paddleocr_vl": (NATIVE, 28),
    "paligemma": ({"pixel_values": (2, 3, 224, 224)}, 512),
    "qwen2_5_omni_thinker": (grids(1176), 28),
    "qwen2_5_vl": (grids(1176), 28),
    "qwen2_vl": (grids(1176), 28),
    "qwen3_5": (grids(1536), 28),
    "qwen3_5_moe": (grids(1536), 28),
    "qwen3_omni_moe_thinker": (grids(1536), 28),
    "qwen3_vl": (grids(1536), 28),
    "qwen3_vl_moe": (grids(1536), 28),
    "qwen4_exp": (grids(1536), 28),
    "unlimited_ocr": (
        {
            "pixel_values": (2, 3, 1024, 1024),
            "pixel_values_local": (6, 3, 640, 640),
            "num_local_patches": [6, 0],
            "patches_grid": [(2, 3), (1, 1)],
        },
        1176,
    ),
    "video_llama_3": (
        {"pixel_values": (112, 768), "image_grid_thw": [[1, 8, 12], [1, 4, 4]], "image_merge_sizes": [2, 2]},
        28,
    ),
    "video_llava": ({"pixel_values": (2, 3, 224, 224)}, 512),
    "vipllava": ({"pixel_values": (2, 3, 336, 336)}, 1152),
}
"""{label: (what a processor returns: shapes of pixels, values of the rest; tokens)}."""

PLAIN = ("num_local_patches", "patches_grid")
"""Keys that processors return as lists."""


def tensors(batch: dict[str, Any]) -> dict[str, Any]:
    import torch

    made: dict[str, Any] = {}
    for key, value in batch.items():
        if isinstance(value, tuple):
            made[key] = torch.zeros(value, device="meta")
        else:
            made[key] = value if key in PLAIN else torch.tensor(value)
    return made


def features(label: str, batch: dict[str, Any]) -> int:
    """Rows that the model itself makes of these images."""
    import torch

    model = meta_build(label)
    made = (
        model.get_image_features if hasattr(model, "get_image_features") else model.model.get_image_features
    )
    with torch.no_grad(), following_meta():
        return feature_rows(made(**batch))


OFTEN = (
    "aya_vision", "florence2", "gemma3", "internvl", "kimi_k25", "lighton_ocr", "llama4", "llava",
    "llava_next", "llava_onevision", "ovis2", "paligemma", "qwen2_5_vl", "video_llama_3",
)  # fmt: skip
"""One for each rule, and what is asked for most; the others run with the slow tests."""


def labels() -> list[Any]:
    return [pytest.param(each, marks=() if each in OFTEN else pytest.mark.slow) for each in BATCHES]


@pytest.mark.parametrize("label", labels())
def test_a_family_counts_the_rows_that_its_model_makes(label: str):
    described, tokens = BATCHES[label]
    batch = tensors(described)
    chosen, config = meta_configs()[label]
    assert chosen.image_cost(batch, config).tokens == tokens
    assert features(label, batch) == tokens


@pytest.mark.parametrize("name", [each.name for each in families() if each.trainer == "vlm"])
def test_a_row_without_images_costs_nothing(name: str):
    assert family(name).image_cost({}, SimpleNamespace()) == family("llama").image_cost({}, SimpleNamespace())


def test_a_square_image_wastes_least_where_the_tiles_are_square():
    pinpoints = [[336, 672], [672, 336], [672, 672], [1008, 336]]
    assert best_resolution((500, 500), pinpoints) == (672, 672)
    assert best_resolution((1000, 300), pinpoints) == (1008, 336)


@pytest.mark.parametrize(
    ("size", "left"), [((100, 100), (48, 48)), ((100, 200), (24, 48)), ((333, 1000), (16, 48))]
)
def test_padding_is_cut_off_in_whole_rows(size: tuple[int, int], left: tuple[int, int]):
    assert unpadded(size, 48, 48) == left


def config(**values: Any) -> SimpleNamespace:
    nested = {
        key: SimpleNamespace(**each) if isinstance(each, dict) else each for key, each in values.items()
    }
    return SimpleNamespace(**nested)


def test_clips_class_token_is_counted_only_where_it_is_kept():
    import torch

    batch = {"pixel_values": torch.zeros(1, 3, 28, 28)}
    for tower, strategy, tokens in (
        ("clip_vision_model", "default", 4),
        ("clip_vision_model", "full", 5),
        ("siglip_vision_model", "full", 4),
        ("siglip_vision_model", "default", 3),
    ):
        tall = config(
            vision_config={"patch_size": 14, "model_type": tower}, vision_feature_select_strategy=strategy
        )
        assert family("llava").image_cost(batch, tall).tokens == tokens


def test_cross_attention_has_one_placeholder_for_each_image_that_is_there():
    import torch

    seen = torch.zeros(1, 7, 2, 4)
    seen[0, 3:, 0, :2] = 1
    batch = {
        "pixel_values": torch.zeros(1, 2, 4, 3, 560, 560),
        "cross_attention_mask": seen,
        "aspect_ratio_mask": torch.tensor([[[1, 1, 0, 0], [0, 0, 0, 0]]]),
    }
    cost = family("mllama").image_cost(batch, config(vision_config={"patch_size": 14}))
    assert (cost.tokens, cost.patches) == (1, 2 * 1600)


def test_phi4_counts_no_padding():
    """A page of 448 by 896 whose right half is half empty (transformers, Phi4MultimodalImageProcessor)."""
    import torch

    mask = torch.ones(1, 3, 32, 32)
    mask[0, 2, :, 16:] = 0
    batch = {"image_attention_mask": mask, "image_sizes": torch.tensor([[448, 896]])}
    cost = family("phi4_multimodal").image_cost(batch, config(vision_config={"crop_size": 448}))
    assert cost.tokens == 256 + 1 + 16 * 24 + 16 + 16
    assert cost.patches == 3 * 1024


def test_aria_pairs_patches_with_queries():
    import torch

    tall = config(vision_config={"patch_size": 14})
    tall.projector_patch_to_query_dict = {"1225": 128, "4900": 256}
    batch = {"pixel_values": torch.zeros(3, 3, 490, 490)}
    assert family("aria").image_cost(batch, tall).tokens == 3 * 128


def test_molmo_counts_both_views():
    import torch

    batch = {"image_grids": torch.tensor([[14, 14, 20, 30]]), "pixel_values": torch.zeros(7, 729, 588)}
    cost = family("molmo2").image_cost(batch, config())
    assert (cost.tokens, cost.patches) == (196 + 600, 7 * 729)


@pytest.mark.parametrize(("mode", "tokens"), [("16x", 6 + 16), ("4x", 24 + 64)])
def test_minicpm_counts_each_slice(mode: str, tokens: int):
    import torch

    batch = {"target_sizes": torch.tensor([[8, 12], [16, 16]])}
    assert family("minicpmv4_6").image_cost(batch, config(downsample_mode=mode)).tokens == tokens


def test_lfm_fills_up_to_whole_windows():
    import torch

    batch = {"spatial_shapes": torch.tensor([[30, 33], [16, 16]])}
    cost = family("lfm2_vl").image_cost(batch, config(downsample_factor=2))
    assert (cost.tokens, cost.patches) == (15 * 17 + 64, 30 * 33 + 256)


def test_gemma4_counts_patches_that_are_not_padding():
    import torch

    positions = torch.full((2, 36, 2), -1)
    positions[0], positions[1, :18] = 0, 1
    batch = {"image_position_ids": positions}
    tower = config(vision_config={"pooling_kernel_size": 3})
    assert family("gemma4").image_cost(batch, tower).tokens == 4 + 2


def test_nemotrons_ratio_is_a_merge():
    import torch

    batch = {"image_grid_hw": torch.tensor([[16, 24], [4, 4]])}
    cost = family("nemotron_h_omni").image_cost(batch, config(downsample_ratio=0.5))
    assert (cost.tokens, cost.patches) == (100, 400)


def test_phi3s_rule_is_the_one_of_its_repository():
    """One tile beside the whole image: 144 tokens each, 12 newlines each, one separator."""
    import torch

    batch = {"image_sizes": torch.tensor([[336, 336]])}
    assert family("phi3_v").image_cost(batch, config()).tokens == 2 * 144 + 1 + 2 * 12
