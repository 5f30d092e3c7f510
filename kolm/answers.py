"""What a model says when it is asked: the words between whoever opens models and whoever asks them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kolm.rows import Turn


@dataclass(frozen=True)
class Answer:
    """What a model said to one question."""

    text: str
    """Decoded without special tokens, white space around it removed."""
    tokens: int
    """Generated tokens, the end-of-turn token included."""
    finish: str
    """`stop` when the model ended its turn, `length` when it was cut off."""
    prompt_tokens: int
    """Tokens of the question, image tokens included."""
    image_tokens: int
    patches: int
    """Patches the vision tower worked on."""


@dataclass(frozen=True)
class Question:
    """What a model is shown: turns of a conversation, and its PIL images in order."""

    turns: tuple[Turn, ...]
    images: tuple[Any, ...]


class Answerer(Protocol):
    """A model that can be asked."""

    def ask(self, turns: Sequence[Turn], images: Sequence[Any], *, max_new_tokens: int) -> Answer:
        """Return the greedy answer to a conversation, batch of one. `images` are PIL images, in order."""

    def answers(
        self, questions: Sequence[Question], *, max_new_tokens: int, batch: int
    ) -> Iterator[tuple[int, Answer]]:
        """Yield the greedy answer to each question with its place, in any order, at most `batch` at once."""
