"""Questions encoded before they are asked: those of one text and one size of pictures in one call.

A processor's call costs much more than a small picture. What it returns for several is used only where its
first and last row are what it returns for these two alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apps.trainer.collate import Encoder
from apps.trainer.foreign import quiet
from kolm.answers import Question
from kolm.images import pixel_digest

_AT_ONCE = 128
"""Questions of one call."""

_WORTH = 4
"""Fewest alike that are worth encoding two of them twice."""


class Encodings:
    """Encoded questions, kept for the second model that is asked them, as far as there is room."""

    def __init__(self, room: int = 1 << 29) -> None:
        self._room = room
        self._kept: dict[Any, dict[str, Any]] = {}

    def of(self, encoder: Encoder, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Return each question as a batch of one, as `Encoder.prompt` does. Raises DataError."""
        keys = [_key(question, *map(pixel_digest, question.images)) for question in questions]
        found = [self._take(key) for key in keys]
        left = [place for place, inputs in enumerate(found) if inputs is None]
        made = encoded(encoder, [questions[place] for place in left])
        for place, inputs in zip(left, made, strict=True):
            found[place] = inputs
            self._keep(keys[place], inputs)
        return [inputs for inputs in found if inputs is not None]

    def _take(self, key: Any) -> dict[str, Any] | None:
        inputs = self._kept.pop(key, None)
        self._room += _size(inputs or {})
        return inputs

    def _keep(self, key: Any, inputs: dict[str, Any]) -> None:
        if _size(inputs) <= self._room:
            self._room -= _size(inputs)
            self._kept[key] = inputs


def encoded(encoder: Encoder, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """Return each question as a batch of one, as `Encoder.prompt` does. Raises DataError."""
    found: dict[int, dict[str, Any]] = {}
    with quiet():
        for places in _alike(encoder, questions):
            found |= _together(encoder, questions, places)
        return [
            found.get(place) or encoder.prompt(question.turns, question.images)
            for place, question in enumerate(questions)
        ]


def _key(question: Question, *pictures: Any) -> Any:
    said = [(turn.role, *(getattr(part, "text", 0) for part in turn.content)) for turn in question.turns]
    return (*said, *pictures)


def _size(inputs: Mapping[str, Any]) -> int:
    return sum(int(tensor.numel()) * int(tensor.element_size()) for tensor in inputs.values())


def _alike(encoder: Encoder, questions: Sequence[Question]) -> Iterator[list[int]]:
    """Yield the places of questions that have the same text and pictures of the same sizes."""
    if encoder.family.labels != "causal":
        return
    groups: dict[Any, list[int]] = {}
    for place, question in enumerate(questions):
        groups.setdefault(_key(question, *(image.size for image in question.images)), []).append(place)
    for places in groups.values():
        for begun in range(0, len(places), _AT_ONCE):
            if len(places) - begun >= _WORTH:
                yield places[begun : begun + _AT_ONCE]


def _together(
    encoder: Encoder, questions: Sequence[Question], places: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """Encode alike questions in one call; nothing where that does not give each what it is given alone."""
    first, last = (questions[place] for place in (places[0], places[-1]))
    encoder.check(first.turns, first.images, what="the question")
    ends = [encoder.prompt(one.turns, one.images) for one in (first, last)]
    try:
        whole = encoder.process(
            encoder.render(first.turns, ask=True), *(questions[place].images for place in places)
        )
    except (ValueError, TypeError, RuntimeError, IndexError):
        return {}  # a processor of one question
    if any(tensor.shape[0] % len(places) for tensor in whole.values()):
        return {}
    shares = {key: tensor.chunk(len(places)) for key, tensor in whole.items()}
    rows = [{key: share[n] for key, share in shares.items()} for n in range(len(places))]
    if not all(_same(row, end) for row, end in zip((rows[0], rows[-1]), ends, strict=True)):
        return {}
    return dict(zip(places, rows, strict=True))


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(tensor.equal(other[key]) for key, tensor in one.items())
