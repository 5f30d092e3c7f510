"""The law of batches, for every family: rows together are the rows alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch

from apps.trainer.bases import find_base
from apps.trainer.batch import TOKENS
from apps.trainer.collate import IGNORE, Encoder, Row, batched, collate
from apps.trainer.decoders import sequence_of
from apps.trainer.load import load_model
from apps.trainer.marks import end_tokens
from apps.trainer.processor import load_processor
from apps.trainer.rows import shown, supervised
from kolm.dataset import dataset_of
from kolm.errors import DataError, TrainError
from kolm.spec import VLMTrainConfig
from tests.pictures import two_tone
from tests.tiny import each, prepared

WIDE, TALL, SMALL = two_tone(60, 40, "red"), two_tone(30, 70, "green"), two_tone(33, 33, "blue")

TURNS = [
    {"role": "system", "content": "You are helpful."},
    {"role": "user", "content": [{"type": "image", "image": WIDE}, {"type": "text", "text": "First?"}]},
    {"role": "assistant", "content": "one"},
    {"role": "user", "content": [{"type": "image", "image": TALL}, {"type": "text", "text": "Second?"}]},
    {"role": "assistant", "content": "two"},
]
"""Two images and two answers in one row."""

RECORDS = {
    "wide": {"image": WIDE, "prompt": "Which colour is it?", "response": "red"},
    "tall": {"image": TALL, "prompt": "What?", "response": "green green"},
    "two": {"image": [TALL, SMALL], "prompt": "Which colour is it?", "response": "blue"},
    "text": {"messages": [{"role": "user", "content": "Say yes."}, {"role": "assistant", "content": "yes"}]},
    "turns": {"messages": TURNS},
}


UNABLE = {"paligemma": {"text", "turns"}, "florence2": {"two", "turns"}, "t5gemma2": {"turns"}}
"""Rows that a family refuses: PaliGemma answers one question about pictures, Florence-2 and T5Gemma 2 one
question, Florence-2 about one picture."""


class Family:
    """One tiny model with the five rows, encoded by its own processor."""

    def __init__(self, folder: Path) -> None:
        base = find_base(folder, model="base")
        self.model = load_model(base, VLMTrainConfig()).eval()
        self.encoder = Encoder(load_processor(base), self.model.config, base.family)
        self.rows = {
            name: self.encode(record)
            for name, record in RECORDS.items()
            if name not in UNABLE.get(base.family.name, ())
        }

    def encode(self, record: dict[str, Any], **settings: int) -> Row:
        data = dataset_of([record])
        return self.encoder.encode(data.examples[0], data, VLMTrainConfig(**settings))

    def loss(self, *rows: Row) -> float:
        return summed_loss(self.model, rows, pad_token=self.encoder.processor.tokenizer.pad_token_id)


def summed_loss(model: Any, rows: Sequence[Row], *, pad_token: int) -> float:
    """Return the cross-entropy of a batch summed over its supervised tokens."""
    batch = collate(rows, pad_token=pad_token)
    targets = batch.pop("labels")[:, 1:]
    with torch.no_grad():
        logits = model(**batch, use_cache=False).logits[:, :-1]
    kept = targets != IGNORE
    return torch.nn.functional.cross_entropy(logits[kept].double(), targets[kept], reduction="sum").item()


@pytest.fixture(scope="module", params=each("own processor"))
def family(request: pytest.FixtureRequest, tiny: Callable[[str], Path]) -> Family:
    return Family(tiny(request.param))


def test_two_rows_together_are_the_two_rows_alone(family: Family):
    """Sizes, numbers of images, and no image at all: padding changes no loss."""
    alone = {name: family.loss(row) for name, row in family.rows.items()}
    shared = 0
    for a, b in combinations(family.rows, 2):
        if len(batched([family.rows[a], family.rows[b]], 2)) == 1:
            assert family.loss(family.rows[a], family.rows[b]) == pytest.approx(alone[a] + alone[b], rel=2e-6)
            shared += 1
    assert shared >= 2


def test_the_answers_and_nothing_else_are_supervised(family: Family):
    name, words = ("turns", ("one", "two")) if "turns" in family.rows else ("wide", ("red",))
    answers = [text.strip() for text in supervised(family.rows[name], family.encoder.processor)]
    if family.encoder.family.name == "florence2":  # BART's decoder writes the first token itself
        answers = [text.removeprefix("<s>") for text in answers]
    ends = {answer.removeprefix(word) for answer, word in zip(answers, words, strict=True)}
    assert len(ends) == 1
    end = family.encoder.processor.tokenizer.convert_tokens_to_ids(ends.pop())
    assert end in end_tokens(family.encoder.processor.tokenizer, family.model.config)


def test_what_is_asked_is_what_was_trained_up_to_the_answer(family: Family):
    data = dataset_of([RECORDS["wide"]])
    example = data.examples[0]
    asked = family.encoder.prompt(example.messages[:-1], [data.image(cid) for cid in example.images])
    row = family.rows["wide"]
    first = int((row.labels[0] != IGNORE).nonzero()[0])
    assert sequence_of(asked)[0].tolist() == sequence_of(row.inputs)[0, :first].tolist()
    if "decoder_input_ids" in asked:
        assert torch.equal(asked["input_ids"], row.inputs["input_ids"])
    assert all(torch.equal(asked[key], row.inputs[key]) for key in asked if key.startswith("pixel_"))


def test_a_picture_matters_to_its_answer(family: Family):
    """A processor may return what a model ignores: then rows without their pictures are the same."""
    red = family.encode({**RECORDS["wide"], "image": two_tone(60, 40, "red")})
    blue = family.encode({**RECORDS["wide"], "image": two_tone(60, 40, "blue")})
    assert family.loss(red) != pytest.approx(family.loss(blue), rel=1e-7)


def test_a_literal_image_token_in_a_text_is_refused_by_name(family: Family):
    literal = getattr(family.encoder.processor, "image_token", "<image>")
    data = dataset_of([RECORDS["text"]])  # the capture's own check knows most of them: it is gone round
    example = data.examples[0]
    turn = example.messages[0]
    part = replace(turn.content[0], text=f"What is {literal}?")
    spoilt = replace(example, messages=(replace(turn, content=(part,)), *example.messages[1:]))
    with pytest.raises(DataError, match="row-000001: its text holds"):
        family.encoder.encode(spoilt, data, VLMTrainConfig())
    with pytest.raises(DataError, match="the question: its text holds"):
        family.encoder.prompt(spoilt.messages[:1], [])


def test_a_long_prompt_is_cut_and_neither_image_nor_answer_is(family: Family):
    whole = family.rows["wide"]
    long = {**RECORDS["wide"], "prompt": "Which colour is it? " * 40}
    row = family.encode(long, max_seq_length=whole.length + 9)
    assert row.truncated
    assert whole.length < row.length <= whole.length + 9
    assert row.cost == whole.cost
    assert supervised(row, family.encoder.processor) == supervised(whole, family.encoder.processor)


def test_a_row_is_shown_with_its_image_tokens_counted(family: Family):
    name, answer = ("two", "blue") if "two" in family.rows else ("wide", "red")
    row = family.rows[name]
    text = shown(row, family.encoder.processor)
    assert answer in text
    whole = [row.inputs[key][0] for key in TOKENS if key in row.inputs]
    assert len(text) <= len("\n".join(family.encoder.processor.tokenizer.decode(ids) for ids in whole))
    if row.cost.tokens > 4:
        assert " x " in text


def test_the_first_token_is_there_once(family: Family):
    """Templates write it, tokenizers write it too: together they would write it twice."""
    tokenizer = family.encoder.processor.tokenizer
    ids = family.rows["wide"].inputs["input_ids"][0].tolist()
    assert tokenizer.bos_token_id is None or ids.count(tokenizer.bos_token_id) == 1


def test_rows_that_cannot_share_a_pass_are_split(tiny: Callable[[str], Path]):
    rows = list(Family(tiny("mllama")).rows.values())
    passes = batched(rows, 2)
    assert [len(rows) for rows in passes] == [2, 2, 1]
    assert sorted(row.inputs["input_ids"].shape[1] for rows in passes for row in rows) == sorted(
        row.length for row in rows
    )
    assert all(len({row.apart for row in rows}) == 1 for rows in passes)


@pytest.mark.parametrize("name", each("prepared tensors"))
def test_prepared_rows_obey_the_same_law(tiny: Callable[[str], Path], name: str):
    """Tiles that are not there, and indices that count through the batch, are the families' own."""
    base = find_base(tiny(name), model=name)
    model = load_model(base, VLMTrainConfig()).eval()
    rows = prepared.rows(name, base.family, model.config)
    alone = [summed_loss(model, [row], pad_token=0) for row in rows]
    for (a, first), (b, second) in combinations(zip(alone, rows, strict=True), 2):
        assert summed_loss(model, [first, second], pad_token=0) == pytest.approx(a + b, rel=2e-6)


def test_images_whose_sizes_would_be_lost_are_not_joined():
    """Zeros around an image that nothing tells apart from the image."""
    rows = [
        Row(
            id=f"row-{side}",
            inputs={"input_ids": torch.ones(1, 9), "pixel_values": torch.ones(1, 3, side, side)},
            labels=torch.ones(1, 9),
            cost=None,
        )
        for side in (8, 16)
    ]
    with pytest.raises(TrainError, match="pixel_values of rows row-8 to row-16 differ in shape"):
        collate(rows, pad_token=0)


@pytest.mark.parametrize("name", sorted(UNABLE["paligemma"]))
def test_a_row_that_a_family_cannot_take_is_refused_by_name(tiny: Callable[[str], Path], name: str):
    with pytest.raises(DataError, match="row row-000001: the processor refuses it"):
        Family(tiny("paligemma")).encode(RECORDS[name])


def test_paligemmas_question_is_seen_whole_and_its_answer_from_behind_only(tiny: Callable[[str], Path]):
    """A question's last token changes its first place; an answer's last token changes nothing before it."""
    family = Family(tiny("paligemma"))
    inputs = family.rows["tall"].inputs
    first = int((family.rows["tall"].labels[0] != IGNORE).nonzero()[0])

    def logits(place: int) -> Any:
        ids = inputs["input_ids"].clone()
        ids[0, place] = 300
        with torch.no_grad():
            return family.model(**{**inputs, "input_ids": ids}, use_cache=False).logits[0]

    with torch.no_grad():
        plain = family.model(**inputs, use_cache=False).logits[0]
    assert torch.equal(logits(-1)[:-1], plain[:-1])
    assert not torch.allclose(logits(first - 2)[0], plain[0])
