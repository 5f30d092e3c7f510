"""Rows as tensors: what is supervised, what is cut, what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from apps.trainer.bases import find_base
from apps.trainer.collate import IGNORE, Encoder, OverlongError, collate
from apps.trainer.load import meta_model
from apps.trainer.processor import load_processor
from kolm.dataset import Dataset, dataset_of
from kolm.errors import DataError, SpecError, TrainError
from kolm.spec import VLMTrainConfig

PICTURE = Image.new("RGB", (64, 64), (200, 10, 10))
CONFIG = VLMTrainConfig(max_seq_length=256)


@pytest.fixture(scope="module", params=["qwen_base", "llava_base"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    base = find_base(request.getfixturevalue(request.param), model="base")
    return Encoder(load_processor(base), meta_model(base).config, base.family)


def encode(encoder: Encoder, record: dict[str, Any], config: VLMTrainConfig = CONFIG) -> Any:
    data: Dataset = dataset_of([record])
    return encoder.encode(data.examples[0], data, config)


def supervised(encoder: Encoder, row: Any) -> str:
    ids = row.inputs["input_ids"][row.labels != IGNORE]
    return encoder.processor.tokenizer.decode(ids)


def test_labels_cover_the_answer_and_its_end_only(encoder: Encoder):
    row = encode(encoder, {"image": PICTURE, "prompt": "Which digit?", "response": "seven"})
    eos = encoder.processor.tokenizer.eos_token
    assert supervised(encoder, row) == f"seven{eos}"
    kept = row.labels != IGNORE
    assert torch.equal(row.labels[kept], row.inputs["input_ids"][kept])


def test_every_assistant_turn_is_supervised_and_no_other(encoder: Encoder):
    turns = [
        {"role": "system", "content": "You read digits."},
        {
            "role": "user",
            "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": "First?"}],
        },
        {"role": "assistant", "content": "one"},
        {
            "role": "user",
            "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": "Second?"}],
        },
        {"role": "assistant", "content": "two"},
    ]
    row = encode(encoder, {"messages": turns})
    eos = encoder.processor.tokenizer.eos_token
    assert supervised(encoder, row) == f"one{eos}two{eos}"


def test_placeholders_equal_the_features_of_two_images(encoder: Encoder):
    one = encode(encoder, {"image": PICTURE, "prompt": "Which?", "response": "one"})
    two = encode(encoder, {"image": [PICTURE, PICTURE], "prompt": "Which?", "response": "one"})
    assert one.cost.tokens > 0
    assert two.cost.tokens == 2 * one.cost.tokens


def test_a_long_prompt_is_cut_and_its_answer_is_not(encoder: Encoder):
    config = VLMTrainConfig(max_seq_length=96)
    row = encode(encoder, {"image": PICTURE, "prompt": "lorem ipsum " * 200, "response": "seven"}, config)
    assert row.truncated
    assert row.length <= 96
    assert supervised(encoder, row).startswith("seven")
    whole = encode(encoder, {"image": PICTURE, "prompt": "Which?", "response": "seven"})
    assert row.cost == whole.cost, "images are never cut"


@given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60), limit=st.integers(36, 80))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_cut_until_it_fits(encoder: Encoder, text: str, limit: int):
    """A cut inside a character once grew back to as many tokens, and never ended."""
    record = {"image": PICTURE, "prompt": f"größer {text} 数字", "response": "one"}
    try:
        row = encode(encoder, record, VLMTrainConfig(max_seq_length=limit))
    except (OverlongError, DataError):
        return
    assert row.length <= limit
    assert supervised(encoder, row).startswith("one")


def test_an_answer_that_does_not_fit_is_refused_by_name(encoder: Encoder):
    config = VLMTrainConfig(max_seq_length=64)
    with pytest.raises(OverlongError, match="row-000001"):
        encode(encoder, {"image": PICTURE, "prompt": "Which?", "response": "seven " * 200}, config)


def test_more_images_than_allowed_are_refused(encoder: Encoder):
    config = VLMTrainConfig(max_images_per_example=1)
    with pytest.raises(DataError, match="2 images"):
        encode(encoder, {"image": [PICTURE, PICTURE], "prompt": "Which?", "response": "one"}, config)


def test_a_template_that_rewrites_earlier_turns_is_refused(encoder: Encoder, monkeypatch: pytest.MonkeyPatch):
    counting = "{% for m in messages %}{{ messages|length }} {{ m['content'][0]['text'] }} {% endfor %}"
    monkeypatch.setattr(encoder.processor, "chat_template", counting)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(TrainError, match="renders earlier turns differently"):
        encode(encoder, {"messages": turns})


def test_a_batch_is_padded_on_the_right_and_keeps_every_key(encoder: Encoder):
    short = encode(encoder, {"image": PICTURE, "prompt": "Which?", "response": "one"})
    long = encode(encoder, {"image": PICTURE, "prompt": "Which of the digits is it?", "response": "seven"})
    pad = encoder.processor.tokenizer.pad_token_id
    batch = collate([short, long], pad_token=pad)
    assert set(batch) == {*short.inputs, "labels"}
    assert batch["input_ids"].shape == batch["labels"].shape == (2, long.length)
    gap = long.length - short.length
    assert gap > 0
    assert batch["input_ids"][0, -gap:].tolist() == [pad] * gap
    assert batch["attention_mask"][0, -gap:].sum() == 0
    assert (batch["labels"][0, -gap:] == IGNORE).all()


def test_text_only_rows_can_stand_beside_rows_with_images(encoder: Encoder):
    plain = encode(
        encoder,
        {"messages": [{"role": "user", "content": "Say one."}, {"role": "assistant", "content": "one"}]},
    )
    shown = encode(encoder, {"image": PICTURE, "prompt": "Which?", "response": "one"})
    batch = collate([plain, shown], pad_token=encoder.processor.tokenizer.pad_token_id)
    assert batch["pixel_values"].shape == shown.inputs["pixel_values"].shape
    assert batch["input_ids"].shape[0] == 2
    assert all(
        batch[k].shape[0] == 2 for k in batch if k in ("attention_mask", "mm_token_type_ids", "labels")
    )


def test_a_response_that_begins_inside_the_prompts_last_token_is_refused_by_name(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
):
    open_ended = "{% for m in messages %}{{ m['content'][0]['text'] }}{% endfor %}"
    monkeypatch.setattr(encoder.processor, "chat_template", open_ended)
    turns = [{"role": "user", "content": "Wh"}, {"role": "assistant", "content": "ich digit is it?"}]
    with pytest.raises(DataError, match="row-000001: the first token of a response reaches back"):
        encode(encoder, {"messages": turns})


def test_another_checkpoints_processor_is_noticed_by_its_placeholders(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
):
    """Half as many tokens per side as the model makes features: it would train on shifted images."""
    sizes = (
        {"merge_size": 4, "patch_size": encoder.processor.image_processor.patch_size // 2}
        if hasattr(encoder.processor.image_processor, "merge_size")
        else {}
    )
    for name, size in sizes.items():
        monkeypatch.setattr(encoder.processor.image_processor, name, size)
    if not sizes:
        monkeypatch.setattr(encoder.processor, "patch_size", 24)
    with pytest.raises(DataError, match=r"row-000001: \d+ image placeholders for \d+ image features"):
        encode(encoder, {"image": PICTURE, "prompt": "Which?", "response": "one"})


def test_a_processor_that_leaves_an_input_out_is_refused(encoder: Encoder, monkeypatch: pytest.MonkeyPatch):
    wanting = replace(encoder.family, required_inputs=("mm_token_type_ids", "image_depths"))
    monkeypatch.setattr(encoder, "family", wanting)
    with pytest.raises(TrainError, match=r"returns no (mm_token_type_ids|image_depths)"):
        encode(encoder, {"image": PICTURE, "prompt": "Which?", "response": "one"})


def test_a_family_whose_question_is_drawn_is_refused(encoder: Encoder):
    decoding = replace(encoder.family, labels="drawn")
    with pytest.raises(SpecError, match="cannot be trained: its question is drawn") as error:
        Encoder(encoder.processor, encoder.model_config, decoding)
    assert error.value.hint


@pytest.mark.parametrize(("name", "patch"), [("qwen2_vl", 8), ("qwen3_vl", 8), ("glm4v", 8)])
@pytest.mark.parametrize("limits", [{"max_pixels": 1024}, {"min_pixels": 3000, "max_pixels": 5000}])
def test_pixel_limits_take_effect(tiny: Callable[[str], Path], name: str, patch: int, limits: dict[str, int]):
    """They are edges of `size`, and two families mean two things by them."""
    base = find_base(tiny(name), model=name)
    assert base.family.pixel_limits
    processor = load_processor(base, **limits)
    made = processor.image_processor([Image.new("RGB", (400, 300))], return_tensors="pt")
    pixels = int(made["image_grid_thw"].prod()) * patch**2
    assert limits.get("min_pixels", 0) <= pixels <= limits["max_pixels"]
    assert pixels > limits["max_pixels"] / 4
