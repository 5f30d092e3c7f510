"""Qwen's vision-language models: pictures of any size, patches merged four to a token."""

from typing import Any

from tests.tiny.recipe import Recipe
from tests.tiny.towers import HALVES, WIDTH, text
from tests.tiny.words import chatml

MARKS = ("<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TEMPLATE = chatml("<|vision_start|><|image_pad|><|vision_end|>")
PATCH = 8


def processor(tokenizer: Any, name: str, patch: int = PATCH) -> Any:
    """Make a Qwen processor without its video half."""
    import transformers

    from apps.trainer.processor import image_only

    pictures = transformers.Qwen2VLImageProcessorPil(
        patch_size=patch, temporal_patch_size=2, merge_size=2, min_pixels=256, max_pixels=2048, **HALVES
    )
    kind = image_only(getattr(transformers, name))
    return kind(image_processor=pictures, tokenizer=tokenizer, chat_template=tokenizer.chat_template)


def ids(tokenizer: Any) -> dict[str, int]:
    """Ids of the tokens around and for pictures."""
    names = {"vision_start": MARKS[1], "vision_end": MARKS[2], "image": MARKS[3], "video": MARKS[4]}
    return {f"{name}_token_id": tokenizer.convert_tokens_to_ids(mark) for name, mark in names.items()}


def rope(**more: Any) -> dict[str, Any]:
    """Rotary positions in three directions over a head of 16."""
    sections = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    return {"rope_parameters": {**sections, **more}}


def qwen2(tokenizer: Any) -> dict[str, Any]:
    """Qwen2-VL: two blocks of width 64."""
    tower = {
        "depth": 2, "embed_dim": WIDTH, "hidden_size": WIDTH, "num_heads": 4, "mlp_ratio": 2,
        "patch_size": PATCH, "spatial_merge_size": 2, "temporal_patch_size": 2,
    }  # fmt: skip
    return {
        "model_type": "qwen2_vl", "text_config": text(None, tokenizer, **rope()), "vision_config": tower,
        "tie_word_embeddings": True, **ids(tokenizer),
    }  # fmt: skip


def qwen3(model_type: str, tokenizer: Any, **language: Any) -> dict[str, Any]:
    """Qwen3-VL and its kin: two blocks of width 64, features of both handed to the language model."""
    tower = {
        "depth": 2, "hidden_size": WIDTH, "out_hidden_size": WIDTH, "intermediate_size": 128, "num_heads": 4,
        "patch_size": PATCH, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    return {
        "model_type": model_type,
        "text_config": text(None, tokenizer, **{**rope(mrope_interleaved=True), **language}),
        "vision_config": tower, "tie_word_embeddings": False, **ids(tokenizer),
    }  # fmt: skip


def qwen3_5(tokenizer: Any, model_type: str = "qwen3_5", **more: Any) -> dict[str, Any]:
    """Qwen3.5: of four layers the first three attend linearly, no features handed past the input."""
    config = qwen3(
        model_type, tokenizer, num_hidden_layers=4,
        rope_parameters=rope(mrope_interleaved=True, partial_rotary_factor=1.0)["rope_parameters"],
        layer_types=["linear_attention"] * 3 + ["full_attention"], linear_key_head_dim=16,
        linear_value_head_dim=16, linear_num_key_heads=4, linear_num_value_heads=4, **more,
    )  # fmt: skip
    del config["vision_config"]["deepstack_visual_indexes"]
    return config


EXPERTS = {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}  # fmt: skip


EXPERTS_3_5 = {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
    "shared_expert_intermediate_size": 64,
}  # fmt: skip


def _recipe(config: Any, kind: str) -> Recipe:
    return Recipe(
        config=config,
        template=TEMPLATE,
        end="<|im_end|>",
        specials=MARKS,
        processor=lambda t: processor(t, kind),
    )


RECIPES = {
    "qwen2_vl": _recipe(qwen2, "Qwen2VLProcessor"),
    "qwen3_vl": _recipe(lambda t: qwen3("qwen3_vl", t), "Qwen3VLProcessor"),
    "qwen3_5": _recipe(qwen3_5, "Qwen3VLProcessor"),
    "qwen3_5_moe": _recipe(lambda t: qwen3_5(t, "qwen3_5_moe", **EXPERTS_3_5), "Qwen3VLProcessor"),
    "qwen3_vl_moe": _recipe(lambda t: qwen3("qwen3_vl_moe", t, **EXPERTS), "Qwen3VLProcessor"),
}
