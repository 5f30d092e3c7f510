"""Small towers that several families share: their configs as in config.json."""

from typing import Any

from tests.tiny.recipe import VOCABULARY

WIDTH = 64


def text(model_type: str | None, tokenizer: Any, **more: Any) -> dict[str, Any]:
    """Two language layers of width 64 with grouped attention."""
    named = {"model_type": model_type} if model_type else {}
    return {
        **named, "hidden_size": WIDTH, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": VOCABULARY,
        "max_position_embeddings": 2048, "initializer_range": 0.06, **ends(tokenizer), **more,
    }  # fmt: skip


def ends(tokenizer: Any) -> dict[str, Any]:
    """Ids of the tokens that begin, end and fill a sequence."""
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def vision(model_type: str, **more: Any) -> dict[str, Any]:
    """Two layers of a plain vision transformer on pictures of 32 x 32 pixels, patches of 8."""
    return {
        "model_type": model_type, "hidden_size": WIDTH, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "image_size": 32, "patch_size": 8, "initializer_range": 0.06, **more,
    }  # fmt: skip


def square(side: int) -> dict[str, int]:
    """Size of an image processor that scales to a square."""
    return {"height": side, "width": side}


HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
