"""Phi-3.5-vision's processor, which takes one conversation whose images are numbered, called as others are.

Its chat template joins strings, so that a turn's content has to be one; its call takes one string and a flat
list of images, whose features stand where it puts the negative of an image's number (`processing_phi3_v.py`
of the model's repository).
"""

from collections.abc import Mapping, Sequence
from typing import Any


class Numbered:
    """A processor whose images are called `<|image_1|>`, ...; everything else is the wrapped one's."""

    chat_template = ""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """Render a conversation, its images numbered from 1 in their order, each on a line of its own."""
        number, turns = 0, []
        for turn in messages:
            content = ""
            for part in turn["content"]:
                number += part["type"] == "image"
                content += part["text"] if part["type"] == "text" else f"<|image_{number}|>\n"
            turns.append({"role": turn["role"], "content": content})
        return str(self._processor.tokenizer.apply_chat_template(turns, **options))

    def __call__(
        self, *, text: Sequence[str], return_tensors: str, images: Sequence[Sequence[Any]] = ((),), **_: Any
    ) -> Any:
        """Encode one rendered conversation with its images; `input_ids` holds -1 where the first one goes."""
        (row,), (shown,) = text, images
        return self._processor(row, list(shown) or None, return_tensors=return_tensors)
