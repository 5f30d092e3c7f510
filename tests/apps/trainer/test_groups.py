"""Questions asked at once: which families give the answers they give alone, and how passes are made up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from apps.trainer import generate
from apps.trainer.bases import find_base
from apps.trainer.batch import Row
from apps.trainer.families import ImageCost, families
from apps.trainer.foreign import quiet
from apps.trainer.generate import LoadedModel, open_model
from apps.trainer.groups import TOKENS_AT_ONCE, Batches, passes
from apps.trainer.load import load_model
from kolm.answers import Answer, Question
from kolm.cid import cid_of
from kolm.rows import ImagePart, TextPart, Turn
from kolm.spec import VLMTrainConfig
from tests.pictures import two_tone
from tests.tiny import KIN, TRAINED, prepared

LONGEST = 10
ORDER = ("alone", "equal", "padded")
SHORT, LONG = "Which colour is it?", "What do you see in the picture? Answer with one word."
CID = cid_of(b"a picture")

TEXT = ("llama", "qwen2")
ONE_PICTURE = ("florence2",)
ALWAYS_A_PICTURE = ("paligemma",)

QUICK = {
    "florence2", "gemma3", "idefics3", "llama", "llava", "mllama", "phi4_multimodal", "pixtral", "qwen2_5_vl",
    "qwen3_5", "t5gemma2",
}  # fmt: skip
"""Checkpoints of every kind of batch: the others are left to the slow tests."""


def question(prompt: str, *images: Any) -> Question:
    return Question((Turn("user", (*(ImagePart(CID) for _ in images), TextPart(prompt))),), tuple(images))


def questions_for(name: str) -> list[Question]:
    """Three sizes, several colours, two lengths, two pictures and none: what the family takes of it."""
    if name in TEXT:
        return [question(text) for text in (SHORT, LONG, "yes", "no", "one two three", "red", "Say " + LONG)]
    pictures = [
        two_tone(60, 40, "red"), two_tone(60, 40, "blue"), two_tone(40, 60, "green"), two_tone(30, 70, "red"),
        two_tone(33, 33, "blue"), two_tone(60, 40, "orange"),
    ]  # fmt: skip
    asked = [question(SHORT, picture) for picture in pictures]
    asked += [question(LONG, picture) for picture in pictures[:3]]
    if name not in ONE_PICTURE:
        asked += [question(SHORT, pictures[2], pictures[4]), question(LONG, pictures[0], pictures[1])]
    if name not in ALWAYS_A_PICTURE:
        asked += [question("Say nothing of the image."), question("yes"), question("no")]
    return asked


class ByHand:
    """An encoder whose rows are made by hand, for families whose processor needs torchvision."""

    def __init__(self, name: str, model: Any, family: Any) -> None:
        self.name, self.config, self.family = name, model.config, family
        self.processor = self
        self.tokenizer = self
        self.pad_token_id = 0

    def prompt(self, turns: Sequence[Turn], images: Sequence[Any]) -> dict[str, Any]:
        """The width of an image is its number of tiles or the like, its brightness that of its pixels."""
        given = [prepared.PREPARED[self.name](self.config, image.width) for image in images]
        made = prepared.rows(self.name, self.family, self.config)
        row = made[images[0].width - 1 if images else 2].inputs
        row = {key: tensor for key, tensor in row.items()}
        for key in given[0] if given else ():
            if row[key].is_floating_point():
                row[key] = row[key] * images[0].getpixel((0, 0)) / 100
        text = torch.tensor([[300 + len(part) for part in turns[-1].text.split()]])
        longer = {"input_ids": text, "attention_mask": torch.ones_like(text), "mm_token_type_ids": text * 0}
        return {
            key: torch.cat([tensor[:, :-3], longer[key]], dim=1) if key in longer else tensor
            for key, tensor in row.items()
        }

    def check(self, turns: Sequence[Turn], images: Sequence[Any], *, what: str) -> None:
        """Everything may be asked."""

    def render(self, turns: Sequence[Turn], *, ask: bool) -> str:
        return turns[-1].text

    def process(self, text: str, *images: Sequence[Any]) -> dict[str, Any]:
        raise ValueError("one question at a time")

    def cost(self, inputs: dict[str, Any]) -> ImageCost:
        return self.family.image_cost(inputs, self.config)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return " ".join(map(str, ids))


def by_hand() -> list[Question]:
    sizes = [(1, 100), (1, 40), (1, 200), (2, 100), (2, 30)]
    pictures = [Image.new("L", (tiles, 1), brightness) for tiles, brightness in sizes]
    asked = [question(SHORT, picture) for picture in pictures]
    asked += [question(LONG, picture) for picture in pictures]
    return [*asked, question(SHORT), question("yes"), question("no no no")]


def opened(name: str, folder: Path) -> tuple[LoadedModel, list[Question]]:
    base = find_base(folder, model="base")
    if TRAINED.get(name) == "prepared tensors":
        model = load_model(base, VLMTrainConfig()).eval()
        return LoadedModel(model, ByHand(name, model, base.family)), by_hand()  # type: ignore[arg-type]
    return open_model(base, VLMTrainConfig()), questions_for(name)


@dataclass(frozen=True)
class Said:
    """Answers to questions in their order, the logits of each first token (questions, words), and all ids."""

    answers: list[Answer]
    logits: Any
    ids: list[list[int]]


def ask(model: LoadedModel, asked: Sequence[Question], *, allowed: str, batch: int = 4) -> Said:
    """Ask all questions as `allowed` says, and note what the model computed on the way."""
    family, generate, first, ids = model.encoder.family, model.model.generate, [], []

    def noting(**inputs: Any) -> Any:
        output = generate(**inputs, output_logits=True, return_dict_in_generate=True)
        first.append(output.logits[0])
        ids.extend(row[-len(output.logits) :] for row in output.sequences.tolist())
        return output.sequences

    model.encoder.family, model.model.generate = replace(family, batches=allowed), noting
    try:
        said = list(model.answers(asked, max_new_tokens=LONGEST, batch=batch))
    finally:
        model.encoder.family, model.model.generate = family, generate
    order = sorted(range(len(said)), key=lambda n: said[n][0])
    logits = torch.cat(first).float()[order]
    return Said([said[n][1] for n in order], logits, [ids[n] for n in order])


def let_end_early(model: LoadedModel, asked: Sequence[Question]) -> None:
    """Make one more token end an answer: the one with which the answers' lengths differ most."""
    ends = model.model.generation_config.eos_token_id
    written = ask(model, asked, allowed="alone").ids

    def lengths(token: int) -> int:
        return len({ids.index(token) if token in ids else LONGEST for ids in written})

    end = max(sorted({token for ids in written for token in ids}), key=lengths)
    model.model.generation_config.eos_token_id = [*(ends if isinstance(ends, list) else [ends]), end]


def stands(model: LoadedModel, allowed: str, asked: Sequence[Question], expected: Said) -> bool:
    """Whether answers, counts and logits are those of the questions asked alone."""
    try:
        said = ask(model, asked, allowed=allowed)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False
    scale = float(expected.logits.abs().max())
    near = float((said.logits - expected.logits).abs().max()) <= 1e-5 * scale
    return near and said.answers == expected.answers


CHECKPOINTS = sorted([*TRAINED, *TEXT])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CHECKPOINTS]
)
def test_a_family_says_exactly_what_holds(name: str, tiny: Callable[[str], Path]):
    with quiet():
        model, asked = opened(name, tiny(name))
        let_end_early(model, asked)
        expected = ask(model, asked, allowed="alone")
        found = [allowed for allowed in ORDER if stands(model, allowed, asked, expected)]
    assert len({tuple(row) for row in expected.logits.round(decimals=2).tolist()}) == len(asked)
    assert found == list(ORDER[: ORDER.index(model.encoder.family.batches) + 1])


def test_padding_on_the_wrong_side_is_found(tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    """The test above would notice: a model that is to go on from padding goes on otherwise."""
    joined = generate.collate
    with quiet():
        model, asked = opened("qwen2_5_vl", tiny("qwen2_5_vl"))
        expected = ask(model, asked, allowed="alone")
        monkeypatch.setattr(
            generate, "collate", lambda rows, **given: joined(rows, pad_token=given["pad_token"])
        )
        assert stands(model, "equal", asked, expected)
        assert not stands(model, "padded", asked, expected)


def test_a_family_that_was_not_tried_asks_one_at_a_time():
    tried = {KIN.get(name, name) for name in CHECKPOINTS}
    assert {family.name for family in families() if family.batches != "alone"} <= tried


def row(length: int, *, apart: int | None = None, tiles: int = 1) -> Row:
    ids = torch.zeros(1, length, dtype=torch.long)
    inputs = {"input_ids": ids, "pixel_values": torch.zeros(1, tiles, 3, 4, 4)}
    return Row("a question", inputs, ids, ImageCost(0, 0), apart=apart)


ROWS = st.lists(
    st.builds(row, st.integers(3, 6), apart=st.sampled_from([None, 1]), tiles=st.integers(1, 2)), max_size=20
)


@given(ROWS, st.sampled_from(ORDER), st.integers(1, 5))
def test_every_question_is_in_one_pass_with_its_like(rows: list[Row], batches: Batches, size: int):
    found = passes(rows, batches=batches, size=size, more=4)
    assert sorted(place for places in found for place in places) == list(range(len(rows)))
    assert all(1 <= len(places) <= (1 if batches == "alone" else size) for places in found)
    for places in found:
        together = [rows[place] for place in places]
        assert len({one.inputs["pixel_values"].shape[1:] for one in together}) == 1
        assert len({one.apart for one in together}) == 1
        if batches == "equal":
            assert len({one.length for one in together}) == 1
        assert [one.length for one in together] == sorted(one.length for one in together)


def test_long_questions_are_asked_a_few_at_a_time():
    rows = [row(TOKENS_AT_ONCE // 3 - 4) for _ in range(5)] + [row(2 * TOKENS_AT_ONCE)]
    assert passes(rows, batches="padded", size=32, more=4) == [[0, 1, 2], [3, 4], [5]]


def test_what_is_encoded_ahead_is_bounded(tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(generate, "AHEAD_BYTES", 1)
    with quiet():
        model, asked = opened("qwen2", tiny("qwen2"))
        said = dict(model.answers(asked, max_new_tokens=4, batch=4))
    assert [said[n] for n in range(len(asked))] == [
        model.ask(one.turns, one.images, max_new_tokens=4) for one in asked
    ]
