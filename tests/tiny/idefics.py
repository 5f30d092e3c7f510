"""Idefics: pictures in tiles, their features shuffled or resampled."""

from typing import Any

from tests.tiny.recipe import Recipe
from tests.tiny.towers import HALVES, square, text, vision
from tests.tiny.words import utterances

TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
MARKS = ("<image>", "<fake_token_around_image>", "<global-img>")


def idefics3(tokenizer: Any) -> dict[str, Any]:
    """Idefics3: pixel shuffle by 2 before the connector."""
    return {
        "model_type": "idefics3", "vision_config": vision("idefics3_vision"),
        "text_config": text("llama", tokenizer), "scale_factor": 2, "tie_word_embeddings": False,
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip


def idefics3_processor(tokenizer: Any) -> Any:
    """Cut pictures into tiles of 32 x 32, of at most 64 in all."""
    from transformers import Idefics3ImageProcessorPil, Idefics3Processor

    pictures = Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, **HALVES
    )
    return Idefics3Processor(pictures, tokenizer, image_seq_len=4, chat_template=tokenizer.chat_template)


def idefics2(tokenizer: Any) -> dict[str, Any]:
    """Idefics2: a perceiver makes 4 tokens of any picture."""
    perceiver = {
        "hidden_size": 64, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 4,
        "resampler_head_dim": 16, "num_key_value_heads": 2,
    }  # fmt: skip
    return {
        "model_type": "idefics2", "vision_config": {**vision("idefics2_vision"), "image_size": 64},
        "perceiver_config": perceiver, "text_config": text("mistral", tokenizer),
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"), "tie_word_embeddings": False,
    }  # fmt: skip


def idefics2_processor(tokenizer: Any) -> Any:
    """Keep the proportions of pictures, at most 64 pixels on the longest side."""
    from transformers import Idefics2ImageProcessorPil, Idefics2Processor

    pictures = Idefics2ImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64}, **HALVES)
    return Idefics2Processor(pictures, tokenizer, image_seq_len=4, chat_template=tokenizer.chat_template)


def idefics(tokenizer: Any) -> dict[str, Any]:
    """Idefics: gated cross-attention before each language layer."""
    tower = {
        "embed_dim": 64, "image_size": 32, "patch_size": 8, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4,
    }  # fmt: skip
    perceiver = {
        "use_resampler": True, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 4,
        "resampler_head_dim": 16,
    }  # fmt: skip
    language = text(None, tokenizer)
    for unknown in ("num_key_value_heads", "head_dim"):
        del language[unknown]
    return {
        "model_type": "idefics", **language, "vision_config": tower, "perceiver_config": perceiver,
        "use_resampler": True, "cross_layer_interval": 1, "alpha_initializer": "ones",
    }  # fmt: skip


def idefics_processor(tokenizer: Any) -> Any:
    """Scale every picture to 32 x 32."""
    from transformers import IdeficsImageProcessorPil, IdeficsProcessor

    made = IdeficsProcessor(
        IdeficsImageProcessorPil(image_size=32, size=square(32)), tokenizer, image_size=32
    )
    made.chat_template = tokenizer.chat_template
    return made


RECIPES = {
    "idefics": Recipe(
        config=idefics,
        template=utterances("<fake_token_around_image><image><fake_token_around_image>"),
        begin="<|begin_of_text|>",
        end="<end_of_utterance>",
        specials=MARKS[:2],
        processor=idefics_processor,
    ),
    "idefics2": Recipe(
        config=idefics2,
        template=utterances("<image>"),
        begin="<|begin_of_text|>",
        end="<end_of_utterance>",
        specials=MARKS[:2],
        processor=idefics2_processor,
    ),
    "idefics3": Recipe(
        config=idefics3,
        template=utterances("<image>"),
        begin="<|begin_of_text|>",
        end="<end_of_utterance>",
        specials=(*MARKS, *TILES),
        processor=idefics3_processor,
    ),
}
