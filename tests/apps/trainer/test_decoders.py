"""Models whose answer a decoder of its own writes: rows, losses, answers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from apps.trainer.bases import Base, find_base
from apps.trainer.collate import IGNORE, Encoder, OverlongError, Row, collate
from apps.trainer.decoders import continued
from apps.trainer.families import families
from apps.trainer.generate import open_model
from apps.trainer.load import load_model, meta_model
from apps.trainer.processor import load_processor
from apps.trainer.rows import shown, supervised
from apps.trainer.steps import loss_of
from apps.trainer.vlm import VLMTrainer
from kolm.dataset import ImagePart, TextPart, Turn, dataset_of
from kolm.errors import DataError, SpecError, TrainError
from kolm.spec import VLMTrainConfig
from tests.hub import repositories
from tests.pictures import two_tone

CONFIG = VLMTrainConfig(
    learning_rate=5e-3, num_train_epochs=60, per_device_train_batch_size=2, gradient_accumulation_steps=1,
    bf16=False, lr_scheduler="constant", max_seq_length=64,
)  # fmt: skip
RED, GREEN = two_tone(60, 40, "red"), two_tone(60, 40, "green")
PAIRS = [
    {"image": RED, "prompt": "<predict_text>", "response": "red"},
    {"image": GREEN, "prompt": "<predict_text>", "response": "green blue"},
]
ASKED = "Which colour is it?"
PLACE = ImagePart("bafkreihwsnuregceqh263vgdathcprnbvatyat6h6mu7ipjhhodcdbyhoy")


@pytest.fixture(scope="module")
def modules_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with repositories.modules_in(tmp_path_factory.mktemp("modules")) as cache:
        yield cache


@pytest.fixture(scope="module", params=["florence2", "t5gemma2", "nemotron_parse"])
def base(
    request: pytest.FixtureRequest,
    tiny: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
    modules_cache: Path,
) -> Base:
    if request.param != "nemotron_parse":
        return find_base(tiny(request.param), model="base")
    folder = repositories.nemotron_parse(tmp_path_factory.mktemp("hub") / "nemotron-parse-tiny")
    return find_base(folder, model="base", trust=True)


@pytest.fixture(scope="module")
def encoder(base: Base) -> Encoder:
    return Encoder(load_processor(base), meta_model(base).config, base.family)


def encode(encoder: Encoder, record: dict[str, Any], **settings: Any) -> Row:
    data = dataset_of([record])
    return encoder.encode(data.examples[0], data, CONFIG.model_copy(update=settings))


def test_the_answer_and_its_end_are_supervised_and_nothing_of_the_question(encoder: Encoder):
    row = encode(encoder, {"image": RED, "prompt": ASKED, "response": "green blue"})
    (span,) = supervised(row, encoder.processor)
    tokenizer = encoder.processor.tokenizer
    first = tokenizer.bos_token if encoder.family.name == "florence2" else ""  # as BART's decoder begins
    assert span == f"{first}green blue{tokenizer.eos_token}"
    assert ASKED in shown(row, encoder.processor)
    assert row.labels.shape == row.inputs["decoder_input_ids"].shape
    kept = row.labels != IGNORE
    assert torch.equal(row.labels[kept], row.inputs["decoder_input_ids"][kept])


def test_an_image_is_read_by_the_encoder_and_a_prompt_by_whom_the_rule_says(encoder: Encoder):
    row = encode(encoder, {"image": RED, "prompt": ASKED, "response": "red"})
    read = encoder.processor.tokenizer.decode(row.inputs["decoder_input_ids"][0])
    assert (ASKED in read) == (encoder.family.labels == "decoder_prompt")
    assert ("input_ids" in row.inputs) == (encoder.family.labels == "decoder")
    assert "pixel_values" in row.inputs


def test_the_loss_is_the_models_own(base: Base, encoder: Encoder):
    """As it makes it of the answer alone by its own shift, or of what stands behind a prompt it is given."""
    model = load_model(base, CONFIG).eval()
    row = encode(encoder, {"image": RED, "prompt": ASKED, "response": "green blue"})
    answer = row.labels[row.labels != IGNORE][None]
    inputs = {key: tensor for key, tensor in row.inputs.items() if key != "decoder_input_ids"}
    if base.family.labels == "decoder":
        theirs = model(**inputs, labels=answer).loss.item()
    else:
        read = row.inputs["decoder_input_ids"][:, :-1]
        theirs = model(**inputs, decoder_input_ids=read, labels=row.labels[:, 1:]).loss.item()
    ours = loss_of(model, collate([row], pad_token=0)).item() / answer.numel()
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_filling_up_a_batch_changes_no_loss(base: Base, encoder: Encoder):
    model = load_model(base, CONFIG).eval()
    long = {"image": GREEN, "prompt": f"{ASKED} Answer with one word.", "response": "green blue red"}
    rows = [encode(encoder, {"image": RED, "prompt": "What?", "response": "red"}), encode(encoder, long)]
    pad = encoder.processor.tokenizer.pad_token_id
    batch = collate(rows, pad_token=pad)
    assert batch["labels"].shape == batch["decoder_input_ids"].shape
    assert int((batch["labels"] != IGNORE).sum()) == sum(int((row.labels != IGNORE).sum()) for row in rows)
    apart = sum(loss_of(model, collate([row], pad_token=pad)).item() for row in rows)
    assert loss_of(model, batch).item() == pytest.approx(apart, rel=1e-4)


def test_a_long_question_is_cut_and_its_answer_is_not(encoder: Encoder):
    row = encode(encoder, {"image": RED, "prompt": "lorem ipsum " * 60, "response": "seven"})
    assert row.truncated
    assert row.length <= CONFIG.max_seq_length
    assert supervised(row, encoder.processor)[0].endswith(f"seven{encoder.processor.tokenizer.eos_token}")


def test_an_answer_that_does_not_fit_is_refused(encoder: Encoder):
    with pytest.raises(OverlongError, match="do not fit max_seq_length 64"):
        encode(encoder, {"image": RED, "prompt": ASKED, "response": "lorem ipsum " * 60})


SAID = [
    {"role": "user", "content": [{"type": "image", "image": RED}, {"type": "text", "text": "What?"}]},
    {"role": "assistant", "content": "red"},
    {"role": "user", "content": "And what else?"},
    {"role": "assistant", "content": "green"},
]


@pytest.mark.parametrize(
    ("turns", "said"),
    [(SAID, "answers one question"), ([*SAID[:1], {"role": "assistant", "content": ""}], None)],
    ids=["two questions", "empty answer"],
)
def test_what_has_no_single_answer_is_refused(encoder: Encoder, turns: list[Any], said: str | None):
    with pytest.raises(DataError, match=said):
        encode(encoder, {"messages": turns})


def test_several_images_are_read_where_the_encoder_can(encoder: Encoder):
    record = {"image": [RED, GREEN], "prompt": "What?", "response": "red"}
    if encoder.family.name == "t5gemma2":
        assert encode(encoder, record).cost.tokens == 2 * 4
        return
    with pytest.raises(DataError, match="2 images"):
        encode(encoder, record)


def test_what_was_taught_is_answered(base: Base, tmp_path: Path):
    """Teacher forcing and asking agree: the trained model gives its answers back, and knows when to stop."""
    trainer = VLMTrainer(base=base, dataset=dataset_of(PAIRS), config=CONFIG, output_dir=tmp_path)
    result = trainer.train()
    model = open_model(base, CONFIG, trained=result.adapter_dir, manifest=result.manifest)
    question = [Turn("user", (PLACE, TextPart("<predict_text>")))]
    for pair in PAIRS:
        answer = model.ask(question, [pair["image"]], max_new_tokens=8)
        assert (answer.text, answer.finish) == (pair["response"], "stop")
        assert answer.prompt_tokens > 1


def test_an_export_compares_logits_behind_the_question(encoder: Encoder):
    batch = continued(encoder.prompt([Turn("user", (PLACE, TextPart(ASKED)))], [RED]), 4)
    assert batch["labels"].shape == batch["decoder_input_ids"].shape
    assert int((batch["labels"][:, 1:] != IGNORE).sum()) == 4


def test_a_question_that_is_drawn_is_refused_by_name():
    family = next(family for family in families() if family.name == "pix2struct")
    with pytest.raises(SpecError, match="pix2struct cannot be trained: its question is drawn on the image"):
        Encoder(None, None, family)
    assert [f.name for f in families() if f.labels == "drawn"] == ["pix2struct"]


def test_a_decoder_that_starts_nowhere_is_refused(encoder: Encoder, monkeypatch: pytest.MonkeyPatch):
    for config in (encoder.model_config, *(getattr(encoder.model_config, n, None) for n in ("text_config",))):
        if config is not None:
            monkeypatch.setattr(config, "decoder_start_token_id", None, raising=False)
    if inner := getattr(encoder.model_config, "decoder", None):
        monkeypatch.setattr(inner, "bos_token_id", None)
        monkeypatch.setattr(inner, "decoder_start_token_id", None, raising=False)
    with pytest.raises(TrainError, match="which token the decoder starts from"):
        encode(encoder, PAIRS[0])
