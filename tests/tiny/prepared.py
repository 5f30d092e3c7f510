"""Families whose processors cannot load without torchvision: models, and batches made by hand.

What a row holds is what the family's processor would return, with its names and shapes; the pixels are noise.
"""

from collections.abc import Callable, Mapping
from typing import Any

from apps.trainer.batch import IGNORE, Row
from tests.tiny.recipe import Recipe
from tests.tiny.towers import WIDTH, text, vision

IMAGE = "<image>"
PROMPT, ANSWER = (300, 301, 302), (310, 311)
"""Ids of plain text."""


def rows(name: str, family: Any, config: Any) -> list[Row]:
    """Make two rows with one image each, of two sizes, and one without."""
    made = [_row(f"row-{size}", family, config, PREPARED[name](config, size)) for size in (1, 2)]
    return [*made, _row("row-text", family, config, {})]


def _row(name: str, family: Any, config: Any, images: Mapping[str, Any]) -> Row:
    import torch

    cost = family.image_cost(images, config)
    token = next(
        t for where in (config, getattr(config, "vision_config", config)) for n in _TOKENS
        if (t := getattr(where, n, None)) is not None
    )  # fmt: skip
    end = config.get_text_config().eos_token_id
    ids = torch.tensor([[*PROMPT, *[token] * cost.tokens, *PROMPT, *ANSWER, end]])
    labels = ids.clone()
    labels[:, : -len(ANSWER) - 1] = IGNORE
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **images}
    if "mm_token_type_ids" in family.required_inputs:
        inputs["mm_token_type_ids"] = (ids == token).long()
    return Row(id=name, inputs=inputs, labels=labels, cost=cost)


_TOKENS = ("image_token_id", "image_token_index", "image_patch_id")


def noise(*shape: int) -> Any:
    """Pixels, the same for the same shape."""
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def lfm2_vl(tokenizer: Any) -> dict[str, Any]:
    """LFM2-VL: every other language layer is a convolution."""
    language = text(
        "lfm2", tokenizer, layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False,
        tie_word_embeddings=True,
    )  # fmt: skip
    tower = {**vision("siglip2_vision_model"), "num_patches": 16, "vision_use_head": False}
    return {
        "model_type": "lfm2_vl", "vision_config": tower, "text_config": language, "downsample_factor": 2,
        "projector_hidden_size": WIDTH, "image_token_id": tokenizer.convert_tokens_to_ids(IMAGE),
    }  # fmt: skip


def lfm2_images(config: Any, size: int) -> dict[str, Any]:
    """Patches (1, patches, 192) filled up to 16, their mask, and rows and columns of patches."""
    import torch

    height, width = 2, 2 * size
    mask = torch.zeros(1, 16, dtype=torch.long)
    mask[:, : height * width] = 1
    return {
        "pixel_values": noise(1, 16, 192), "pixel_attention_mask": mask,
        "spatial_shapes": torch.tensor([[height, width]]),
    }  # fmt: skip


def llama4(tokenizer: Any) -> dict[str, Any]:
    """Llama 4: pixel shuffle, experts as 3-D parameters in every other layer."""
    language = text(
        "llama4_text", tokenizer, intermediate_size=64, intermediate_size_mlp=128, num_local_experts=2,
        interleave_moe_layer_step=2, attention_chunk_size=64,
    )  # fmt: skip
    tower = {
        **vision("llama4_vision_model"), "intermediate_size": 4 * WIDTH, "projector_input_dim": WIDTH,
        "projector_output_dim": WIDTH, "vision_output_dim": WIDTH,
    }  # fmt: skip
    return {
        "model_type": "llama4", "vision_config": tower, "text_config": language,
        "image_token_index": tokenizer.convert_tokens_to_ids(IMAGE),
    }  # fmt: skip


def tiles(config: Any, size: int) -> dict[str, Any]:
    """As many tiles (tiles, 3, 32, 32) as the image is large."""
    return {"pixel_values": noise(size, 3, 32, 32)}


def kimi_k25(tokenizer: Any) -> dict[str, Any]:
    """Kimi K2.5: latent attention and experts of DeepSeek V3, patches merged four to a token."""
    language = text(
        "deepseek_v3", tokenizer, moe_intermediate_size=64, num_key_value_heads=4, n_routed_experts=4,
        kv_lora_rank=64, q_lora_rank=64, qk_rope_head_dim=16, v_head_dim=16, qk_nope_head_dim=16, n_group=1,
        topk_group=1, num_experts_per_tok=2, first_k_dense_replace=1, num_mtp_layers=0,
    )  # fmt: skip
    del language["head_dim"]
    tower = {
        "patch_size": 8, "pos_emb_height": 8, "pos_emb_width": 8, "num_attention_heads": 4,
        "num_hidden_layers": 2, "hidden_size": WIDTH, "intermediate_size": 128,
    }  # fmt: skip
    return {
        "model_type": "kimi_k25", "vision_config": tower, "text_config": language,
        "projection_hidden_size": WIDTH, "image_token_id": tokenizer.convert_tokens_to_ids(IMAGE),
        "tie_word_embeddings": False,
    }  # fmt: skip


def kimi_images(config: Any, size: int) -> dict[str, Any]:
    """Patches (patches, 3, 8, 8) and the grid they came from."""
    import torch

    return {
        "pixel_values": noise(8 * size, 3, 8, 8), "image_grid_thw": torch.tensor([[1, 4, 2 * size]]),
    }  # fmt: skip


def cohere2_vision(tokenizer: Any) -> dict[str, Any]:
    """Command A Vision: SigLIP, pixel shuffle by 2, a Cohere2 language model."""
    return {
        "model_type": "cohere2_vision", "text_config": text("cohere2", tokenizer, sliding_window=64),
        "vision_config": vision("siglip_vision_model", vision_use_head=False), "downsample_factor": 2,
        "alignment_intermediate_size": 128, "image_token_id": tokenizer.convert_tokens_to_ids(IMAGE),
    }  # fmt: skip


def phi4_multimodal(tokenizer: Any) -> dict[str, Any]:
    """Phi-4-multimodal: fused projections, towers inside the embedding, an audio tower that stays frozen."""
    sound = {
        "hidden_size": WIDTH, "intermediate_size": 64, "num_blocks": 1, "num_attention_heads": 4,
        "ext_pw_out_channel": WIDTH, "depthwise_separable_out_channel": WIDTH, "nemo_conv_channels": 16,
        "input_size": 16,
    }  # fmt: skip
    tower = {
        **vision("phi4_multimodal_vision"), "num_hidden_layers": 3, "crop_size": 32,
        "image_token_id": tokenizer.convert_tokens_to_ids(IMAGE),
    }  # fmt: skip
    language = text(None, tokenizer)
    del language["head_dim"]
    return {
        "model_type": "phi4_multimodal", **language, "vision_config": tower, "audio_config": sound,
        "bos_token_id": tokenizer.pad_token_id,
    }  # fmt: skip


def phi4_images(config: Any, size: int) -> dict[str, Any]:
    """Image and tiles (1, 1 + tiles, 3, 32, 32), which patches are no padding, size in pixels."""
    import torch

    return {
        "image_pixel_values": noise(1, 1 + size, 3, 32, 32),
        "image_attention_mask": torch.ones(1, 1 + size, 4, 4, dtype=torch.long),
        "image_sizes": torch.tensor([[32, 32 * size]]),
    }


def molmo2(tokenizer: Any) -> dict[str, Any]:
    """Molmo2: attention pools four patches to a token."""
    language = text("molmo2_text", tokenizer, additional_vocab_size=64, vocab_size=448)
    tower = {
        "hidden_size": WIDTH, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4, "head_dim": 16, "image_size": [32, 32], "patch_size": 8,
        "num_position_embeddings": 16,
    }  # fmt: skip
    adapter = {
        "vision_feature_layer": [-1, -2], "hidden_size": WIDTH, "num_attention_heads": 4, "head_dim": 16,
        "num_key_value_heads": 4, "intermediate_size": 128, "text_hidden_size": WIDTH,
    }  # fmt: skip
    return {
        "model_type": "molmo2", "vision_config": tower, "adapter_config": adapter, "text_config": language,
        "image_patch_id": 500, "image_start_token_id": 501, "image_end_token_id": 502,
        "low_res_image_start_token_id": 503, "frame_start_token_id": 504, "frame_end_token_id": 505,
    }  # fmt: skip


def molmo2_images(config: Any, size: int) -> dict[str, Any]:
    """Crops (crops, 16, 192), the four patches each token pools, and rows and columns of both views."""
    import torch

    return {
        "pixel_values": noise(1 + size, 16, 192),
        "image_token_pooling": torch.arange(16 * (1 + size)).reshape(-1, 4),
        "image_grids": torch.tensor([[2, 2, 2, 2 * size]]), "image_num_crops": torch.tensor([1 + size]),
    }  # fmt: skip


def nemotron_h_omni(tokenizer: Any) -> dict[str, Any]:
    """Nemotron Omni: a RADIO tower, state spaces and attention in turn."""
    language = text(
        "nemotron_h", tokenizer, layers_block_type=["mamba", "attention", "mlp"], ssm_state_size=16,
        mamba_num_heads=4, mamba_head_dim=32, n_groups=1, chunk_size=16, use_mamba_kernels=False,
    )  # fmt: skip
    del language["num_hidden_layers"]
    tower = {
        "model_type": "radio", "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4,
        "mlp_ratio": 2.0, "patch_size": 8, "image_size": 32, "max_img_size": 64,
        "video_temporal_patch_size": 2,
    }  # fmt: skip
    return {
        "model_type": "nemotron_h_omni", "vision_config": tower, "text_config": language,
        "vision_hidden_size": WIDTH, "projector_hidden_size": WIDTH, "video_temporal_patch_size": 2,
        "image_token_id": tokenizer.convert_tokens_to_ids(IMAGE),
    }  # fmt: skip


def nemotron_images(config: Any, size: int) -> dict[str, Any]:
    """Patches (patches, 192) and rows and columns of them."""
    import torch

    return {"pixel_values": noise(8 * size, 192), "image_grid_hw": torch.tensor([[4, 2 * size]])}


def _recipe(config: Callable[[Any], dict[str, Any]], loader: str = "AutoModelForImageTextToText") -> Recipe:
    return Recipe(config=config, end="<end>", specials=(IMAGE,), loader=loader)


RECIPES = {
    "cohere2_vision": _recipe(cohere2_vision),
    "kimi_k25": _recipe(kimi_k25),
    "lfm2_vl": _recipe(lfm2_vl),
    "llama4": _recipe(llama4),
    "molmo2": _recipe(molmo2),
    "nemotron_h_omni": _recipe(nemotron_h_omni),
    "phi4_multimodal": _recipe(phi4_multimodal, "AutoModelForMultimodalLM"),
}

PREPARED: dict[str, Callable[[Any, int], dict[str, Any]]] = {
    "cohere2_vision": tiles,
    "kimi_k25": kimi_images,
    "lfm2_vl": lfm2_images,
    "llama4": tiles,
    "molmo2": molmo2_images,
    "nemotron_h_omni": nemotron_images,
    "phi4_multimodal": phi4_images,
}
"""(model config, 1 or 2) -> what a processor would return for one image of that size."""
