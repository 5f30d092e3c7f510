"""Which texts and tokens mean something to a processor: places of images, ends of turns."""

import re
from typing import Any

from apps.trainer.families import Family

_MARKS = (
    "image_token", "boi_token", "eoi_token", "image_start_token", "image_end_token", "start_image_token",
    "end_image_token", "fake_image_token", "global_image_tag", "image_break_token", "video_token",
    "audio_token", "boa_token", "eoa_token",
)  # fmt: skip
"""Attributes of processors and tokenizers that name the tokens around and for images."""

_SEEN = re.compile(r"[<\[].*(ima?ge?|vision|visual|video|audio|pixel|patch|tile|row_\d|media).*[>\]]", re.I)
"""Special tokens that are part of an image, by what they are called."""


def image_texts(processor: Any, family: Family) -> frozenset[str]:
    """Return the texts that a processor or tokenizer takes for images, videos or sounds."""
    tokenizer = processor.tokenizer
    named = [getattr(source, name, None) for source in (processor, tokenizer) for name in _MARKS]
    special = [token for token in tokenizer.all_special_tokens if _SEEN.fullmatch(token)]
    held = [t.content for t in getattr(tokenizer, "added_tokens_decoder", {}).values() if t.special]
    special += [token for token in held if _SEEN.fullmatch(token)]
    return frozenset(
        text for text in (*named, *special, *family.image_texts) if isinstance(text, str) and text
    )


def end_tokens(tokenizer: Any, model_config: Any) -> frozenset[int]:
    """Return the ids that end a turn: the tokenizer's, and those of config.json (Gemma's has two)."""
    found: list[Any] = [tokenizer.eos_token_id]
    for config in (model_config, getattr(model_config, "text_config", None)):
        token = getattr(config, "eos_token_id", None)
        found += token if isinstance(token, list) else [token]
    return frozenset(int(token) for token in found if token is not None)
