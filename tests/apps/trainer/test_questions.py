"""Questions encoded together are the questions encoded alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from apps.trainer.bases import find_base
from apps.trainer.collate import Encoder
from apps.trainer.foreign import quiet
from apps.trainer.load import meta_model
from apps.trainer.processor import load_processor
from apps.trainer.questions import Encodings, encoded
from kolm.answers import Question
from kolm.cid import cid_of
from kolm.rows import ImagePart, TextPart, Turn
from tests.pictures import two_tone
from tests.tiny import each

COLOURS = ("red", "green", "blue", "orange", "black", "white")


def question(colour: str, side: int = 40, text: str = "Which colour is it?") -> Question:
    picture = two_tone(60, side, colour)
    return Question((Turn("user", (ImagePart(cid_of(b"")), TextPart(text))),), (picture,))


def opened(folder: Path) -> Encoder:
    base = find_base(folder, model="base")
    with quiet():
        return Encoder(load_processor(base), meta_model(base).config, base.family)


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


QUESTIONS = [
    *(question(colour) for colour in COLOURS),
    question("red", text="What?"),
    *(question(colour, side=70) for colour in COLOURS),
]


@pytest.mark.parametrize("name", each("own processor"))
def test_each_question_is_encoded_as_it_is_alone(name: str, tiny: Callable[[str], Path]):
    encoder = opened(tiny(name))
    together = encoded(encoder, QUESTIONS)
    alone = [encoder.prompt(one.turns, one.images) for one in QUESTIONS]
    assert all(map(equal, together, alone))


class Counting:
    """A processor that counts its calls, and spoils what it returns for several."""

    def __init__(self, processor: Any, *, spoilt: bool = False) -> None:
        self.processor, self.spoilt, self.calls = processor, spoilt, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.processor, name)

    def __call__(self, *, text: list[str], **options: Any) -> Any:
        self.calls += 1
        made = self.processor(text=text, **options)
        if self.spoilt and len(text) > 1:
            made["input_ids"] = made["input_ids"].flip(1)
        return made


def test_alike_questions_take_three_calls_and_other_rows_one_each(qwen_base: Path):
    encoder = opened(qwen_base)
    encoder.processor = Counting(encoder.processor)
    encoded(encoder, QUESTIONS)
    assert encoder.processor.calls == 3 + 3 + 1


def test_a_processor_that_gives_several_rows_something_else_is_asked_for_each(qwen_base: Path):
    encoder = opened(qwen_base)
    right = encoded(encoder, QUESTIONS)
    encoder.processor = Counting(encoder.processor, spoilt=True)
    assert all(map(equal, encoded(encoder, QUESTIONS), right))


def test_the_second_model_is_given_what_was_encoded_for_the_first(qwen_base: Path):
    encoder, kept = opened(qwen_base), Encodings()
    encoder.processor = Counting(encoder.processor)
    first = kept.of(encoder, QUESTIONS)
    calls = encoder.processor.calls
    assert all(map(equal, kept.of(encoder, QUESTIONS[::-1]), first[::-1]))
    assert encoder.processor.calls == calls
    kept.of(encoder, QUESTIONS)  # given away
    assert encoder.processor.calls == 2 * calls


def test_without_room_nothing_is_kept(qwen_base: Path):
    encoder, kept = opened(qwen_base), Encodings(room=0)
    encoder.processor = Counting(encoder.processor)
    for calls in (7, 14):
        kept.of(encoder, QUESTIONS)
        assert encoder.processor.calls == calls
