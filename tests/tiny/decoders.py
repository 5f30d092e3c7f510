"""Families whose answer a decoder of its own writes: Florence-2, T5Gemma 2."""

from typing import Any

from tests.tiny.gemma import MARKS, NAMED, gemma3_processor
from tests.tiny.recipe import VOCABULARY, Recipe
from tests.tiny.towers import HALVES, WIDTH, square, text, vision

SIDE = 64
"""Pixels per side of Florence's pictures: 2 x 2 features and their mean."""


def florence2(tokenizer: Any) -> dict[str, Any]:
    """Florence-2: a DaViT of four stages, BART with one layer on each side."""
    tower = {
        "depths": [1, 1, 1, 1], "embed_dim": [16, 32, 64, 64], "num_heads": [2, 2, 4, 4],
        "num_groups": [2, 2, 4, 4], "window_size": 4, "drop_path_rate": 0.0, "projection_dim": WIDTH,
        "initializer_range": 0.06,
    }  # fmt: skip
    language = {
        "model_type": "bart", "vocab_size": VOCABULARY, "d_model": WIDTH, "encoder_layers": 1,
        "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "max_position_embeddings": 512, "dropout": 0.0,
        "init_std": 0.06, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id, "decoder_start_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    return {
        "model_type": "florence2", "vision_config": tower, "text_config": language,
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
    }  # fmt: skip


def florence_processor(tokenizer: Any) -> Any:
    """Scale every picture to 64 x 64."""
    from transformers import CLIPImageProcessorPil, Florence2Processor

    pictures = CLIPImageProcessorPil(
        size=square(SIDE), crop_size=square(SIDE), do_center_crop=False, image_seq_length=5, **HALVES
    )
    return Florence2Processor(image_processor=pictures, tokenizer=tokenizer)


def t5gemma2(tokenizer: Any) -> dict[str, Any]:
    """T5Gemma 2: Gemma's tower and two language layers on each side."""
    token = tokenizer.convert_tokens_to_ids
    language = {"sliding_window": 64, "query_pre_attn_scalar": 16}
    kinds = ["sliding_attention", "full_attention"]
    encoder = {
        "model_type": "t5gemma2_encoder", "mm_tokens_per_image": 4, "boi_token_index": token(MARKS[2]),
        "text_config": text("t5gemma2_text", tokenizer, layer_types=kinds, **language),
        "vision_config": vision("siglip_vision_model", vision_use_head=False),
        "eoi_token_index": token(MARKS[3]), "image_token_index": token(MARKS[4]),
    }  # fmt: skip
    return {
        "model_type": "t5gemma2", "encoder": encoder, "eoi_token_index": token(MARKS[3]),
        "decoder": text("t5gemma2_decoder", tokenizer, layer_types=kinds, **language),
        "image_token_index": token(MARKS[4]),
    }  # fmt: skip


RECIPES = {
    "florence2": Recipe(
        config=florence2,
        begin="<s>",
        end="</s>",
        specials=("<image>",),
        named={"image_token": "<image>"},
        processor=florence_processor,
    ),
    "t5gemma2": Recipe(
        config=t5gemma2,
        begin="<bos>",
        end="<eos>",
        specials=MARKS,
        named=NAMED,
        processor=gemma3_processor,
    ),
}
