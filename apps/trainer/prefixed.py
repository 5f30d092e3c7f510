"""PaliGemma's processor, which takes a question and its answer apart, called as other processors are.

Attention goes both ways over pictures and question and only back over the answer; `token_type_ids` tell the
two apart, 0 and 1, and come right only when the answer is handed over as `suffix` (arXiv:2407.07726, 3).
"""

from collections.abc import Mapping, Sequence
from typing import Any

_BETWEEN = "\x1e"
"""Stands between question and answer in a rendered conversation: a separator that no text holds."""


class Prefixed:
    """A processor of one question and one answer; everything else is the wrapped processor's."""

    chat_template = ""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], **_: Any) -> str:
        """Render as PaliGemma was trained: pictures, then the question, then the answer.

        Raises ValueError for a conversation of more than one question.
        """
        roles = [turn["role"] for turn in messages]
        asked, answers = [r for r in roles if r != "assistant"], roles.count("assistant")
        if asked.count("user") != 1 or answers > 1 or "assistant" in roles[:-1]:
            raise ValueError("PaliGemma answers one question; give every question a row of its own")
        parts = [part for turn in messages[: len(asked)] for part in turn["content"]]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        places = self._processor.image_token * sum(part["type"] == "image" for part in parts)
        answer = "".join(part["text"] for turn in messages[len(asked) :] for part in turn["content"])
        if any(_BETWEEN in text for text in (*texts, answer)):
            raise ValueError("its text holds the control character U+001E")
        return places + "\n".join(texts) + _BETWEEN + answer

    def __call__(self, *, text: Sequence[str], return_tensors: str, **images: Any) -> dict[str, Any]:
        """Encode rendered conversations; an answer ends with the end-of-sequence token."""
        questions, _, answers = zip(*(row.partition(_BETWEEN) for row in text), strict=True)
        options = {"suffix": list(answers)} if all(answers) else {}
        encoded = self._processor(
            text=list(questions), add_special_tokens=False, return_tensors=return_tensors, **options, **images
        )
        return {key: value for key, value in encoded.items() if key != "labels"}
