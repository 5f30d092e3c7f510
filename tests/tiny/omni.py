"""Qwen's models that also hear: the half that thinks, with its audio tower, as part of the whole config."""

from typing import Any

from tests.tiny.qwen import EXPERTS, PATCH, rope
from tests.tiny.recipe import Recipe
from tests.tiny.towers import HALVES, WIDTH, text
from tests.tiny.words import chatml

TWO = (
    "<|vision_bos|>",
    "<|vision_eos|>",
    "<|IMAGE|>",
    "<|VIDEO|>",
    "<|AUDIO|>",
    "<|audio_bos|>",
    "<|audio_eos|>",
)
THREE = (
    "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|audio_pad|>",
    "<|audio_start|>", "<|audio_end|>",
)  # fmt: skip
NAMES = (
    "vision_bos_token", "vision_eos_token", "image_token", "video_token", "audio_token", "audio_bos_token",
    "audio_eos_token",
)  # fmt: skip

SEEING = {
    "depth": 2, "hidden_size": WIDTH, "out_hidden_size": WIDTH, "intermediate_size": 128, "num_heads": 4,
    "patch_size": PATCH, "spatial_merge_size": 2, "temporal_patch_size": 2,
}  # fmt: skip
HEARING = {
    "num_mel_bins": 16, "encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 64,
    "d_model": WIDTH, "output_dim": WIDTH, "max_source_positions": 64, "n_window": 8,
}  # fmt: skip


def qwen2_5_omni(tokenizer: Any) -> dict[str, Any]:
    """Qwen2.5-Omni."""
    token = tokenizer.convert_tokens_to_ids
    thinker = {
        "audio_config": HEARING, "text_config": text(None, tokenizer, **rope()),
        "vision_config": {**SEEING, "window_size": 32, "fullatt_block_indexes": [1]},
        "image_token_index": token(TWO[2]), "video_token_index": token(TWO[3]),
        "audio_token_index": token(TWO[4]), "audio_start_token_id": token(TWO[5]),
        "audio_end_token_id": token(TWO[6]), "vision_start_token_id": token(TWO[0]),
        "vision_end_token_id": token(TWO[1]),
    }  # fmt: skip
    return {"model_type": "qwen2_5_omni", "thinker_config": thinker, "enable_audio_output": False}


def qwen3_omni_moe(tokenizer: Any) -> dict[str, Any]:
    """Qwen3-Omni: experts in every language layer, features of two vision layers handed on."""
    token = tokenizer.convert_tokens_to_ids
    hearing = {**HEARING, "downsample_hidden_size": 16, "n_window_infer": 16, "conv_chunksize": 16}
    thinker = {
        "audio_config": hearing,
        "text_config": text(None, tokenizer, **rope(mrope_interleaved=True), **EXPERTS),
        "vision_config": {**SEEING, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
        "image_token_id": token(THREE[2]), "video_token_id": token(THREE[3]),
        "audio_token_id": token(THREE[4]), "audio_start_token_id": token(THREE[5]),
        "vision_start_token_id": token(THREE[0]), "vision_end_token_id": token(THREE[1]),
    }  # fmt: skip
    return {"model_type": "qwen3_omni_moe", "thinker_config": thinker, "enable_audio_output": False}


def processor(tokenizer: Any, name: str) -> Any:
    """Make a processor without its video and audio halves."""
    import transformers

    from apps.trainer.processor import image_only

    pictures = transformers.Qwen2VLImageProcessorPil(
        patch_size=PATCH, temporal_patch_size=2, merge_size=2, min_pixels=256, max_pixels=2048, **HALVES
    )
    return image_only(getattr(transformers, name))(
        image_processor=pictures, video_processor=None, feature_extractor=None, tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip


def _recipe(config: Any, marks: tuple[str, ...], kind: str, loader: str) -> Recipe:
    return Recipe(
        config=config,
        template=chatml("".join((marks[0], marks[2], marks[1]))),
        end="<|im_end|>",
        specials=("<|im_start|>", *marks),
        named=dict(zip(NAMES, marks, strict=True)),
        processor=lambda t: processor(t, kind),
        loader=loader,
        part="thinker_config",
    )


RECIPES = {
    "qwen2_5_omni": _recipe(
        qwen2_5_omni, TWO, "Qwen2_5OmniProcessor", "Qwen2_5OmniThinkerForConditionalGeneration"
    ),
    "qwen3_omni_moe": _recipe(
        qwen3_omni_moe, THREE, "Qwen3OmniMoeProcessor", "Qwen3OmniMoeThinkerForConditionalGeneration"
    ),
}
