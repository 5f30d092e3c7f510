"""Idefics' processor, which takes text and images as one list, called as other processors are."""

import re
from collections.abc import Sequence
from typing import Any

_FAKE = "<fake_token_around_image>"
_PLACE = re.compile(f"(?:{_FAKE})?<image>(?:{_FAKE})?")


class Interleaved:
    """A processor whose images stand inside its text; everything else is the wrapped processor's."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def __call__(
        self, *, text: Sequence[str], return_tensors: str, images: Sequence[Sequence[Any]] = ((),), **_: Any
    ) -> Any:
        """Encode rendered conversations with their images; the processor writes the first token itself.

        Raises ValueError when places and images differ in number.
        """
        prompts = [_interleaved(*row) for row in zip(text, images, strict=True)]
        begin = self._processor.tokenizer.bos_token or ""
        for prompt in prompts:
            prompt[0] = prompt[0].removeprefix(begin)
        return self._processor(text=prompts, add_end_of_utterance_token=False, return_tensors=return_tensors)


def _interleaved(text: str, images: Sequence[Any]) -> list[Any]:
    pieces = _PLACE.split(text)
    prompt: list[Any] = pieces[:1]
    for image, piece in zip(images, pieces[1:], strict=True):
        prompt += [image, piece]
    return prompt
