"""Text-only models in Python: the trainer, its rows, and the tokenizer behind a processor's interface."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from apps.trainer.bases import find_base
from apps.trainer.collate import IGNORE, Encoder
from apps.trainer.families import families
from apps.trainer.load import meta_model
from apps.trainer.processor import load_processor
from apps.trainer.text import VLMTrainConfig, text_trainer
from kolm.dataset import dataset_of
from kolm.errors import DataError, SpecError
from tests.text_task import rows

CONFIG = VLMTrainConfig(
    lora_r=4,
    learning_rate=1e-2,
    max_steps=5,
    per_device_train_batch_size=8,
    gradient_accumulation_steps=1,
    bf16=False,
)
TINY = ("llama", "qwen2")
TURNS = [
    {"role": "system", "content": "You are helpful."},
    {"role": "user", "content": "one two"},
    {"role": "assistant", "content": "three"},
    {"role": "user", "content": "yes"},
    {"role": "assistant", "content": "no"},
]


def encoder_of(folder: Path) -> Encoder:
    base = find_base(folder, model=str(folder))
    return Encoder(load_processor(base), meta_model(base).config, base.family)


@pytest.fixture(params=TINY)
def folder(request: pytest.FixtureRequest, tiny: Callable[[str], Path]) -> Path:
    return tiny(request.param)


def test_five_steps_lower_the_loss_and_move_nothing_that_is_frozen(folder: Path, tmp_path: Path):
    trainer = text_trainer(model_id=folder, train_dataset=rows(16), config=CONFIG, output_dir=tmp_path)
    result = trainer.train()
    losses, manifest = result.metrics["losses"], result.manifest
    assert losses[-1] < losses[0]
    assert manifest.changed() == []
    assert not manifest.sees_images
    head = {} if folder.name == "qwen2" else {"head": "frozen"}  # Qwen's is the embedding
    assert manifest.treatments() == {"language": "lora"} | head
    assert (result.adapter_dir / "adapter_model.safetensors").is_file()


def test_labels_cover_every_assistant_turn_and_nothing_else(folder: Path):
    encoder = encoder_of(folder)
    dataset = dataset_of([{"messages": TURNS}])
    row = encoder.encode(dataset.examples[0], dataset, CONFIG)
    learned = row.inputs["input_ids"][row.labels != IGNORE].tolist()
    end = encoder.processor.tokenizer.eos_token
    assert encoder.processor.tokenizer.decode(learned) == f"three{end}no{end}"
    assert (row.cost.tokens, row.cost.patches) == (0, 0)


def test_the_text_begins_once(tiny: Callable[[str], Path]):
    encoder = encoder_of(tiny("llama"))
    tokenizer = encoder.processor.tokenizer
    ids = encoder.prompt(dataset_of(rows(1)).examples[0].messages[:1], [])["input_ids"][0].tolist()
    assert tokenizer("one")["input_ids"][0] == tokenizer.bos_token_id, "it would add one by itself"
    assert ids.count(tokenizer.bos_token_id) == 1


def test_a_template_that_writes_the_date_writes_the_same_every_day(tiny: Callable[[str], Path]):
    processor = load_processor(find_base(tiny("llama"), model="llama"))
    processor.tokenizer.chat_template = (
        "{% if date_string is defined %}{{ date_string }}{% else %}{{ strftime_now('%d %b %Y') }}{% endif %}"
        "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    )
    turn = [{"role": "user", "content": [{"type": "text", "text": "?"}]}]
    rendered = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    assert rendered == "26 Jul 2024?"


def test_long_prompts_are_cut_and_responses_never(folder: Path):
    encoder = encoder_of(folder)
    dataset = dataset_of([{"prompt": "one two three " * 30, "response": "yes no"}])
    row = encoder.encode(dataset.examples[0], dataset, CONFIG.model_copy(update={"max_seq_length": 40}))
    assert row.truncated
    assert row.length <= 40
    learned = row.inputs["input_ids"][row.labels != IGNORE].tolist()
    assert "yes no" in encoder.processor.tokenizer.decode(learned)


def test_a_row_with_an_image_is_refused_by_name(folder: Path, tmp_path: Path):
    shown = {"id": "seen", "image": Image.new("RGB", (8, 8)), "prompt": "?", "response": "yes"}
    trainer = text_trainer(
        model_id=folder, train_dataset=[*rows(2), shown], config=CONFIG, output_dir=tmp_path
    )
    with pytest.raises(DataError, match=r"row seen: shows an image, and .* reads text only"):
        trainer.train()


def test_a_vision_language_model_is_not_a_text_model(qwen_base: Path):
    with pytest.raises(SpecError, match="is a vision-language model") as caught:
        text_trainer(model_id=qwen_base, train_dataset=rows(2))
    assert "vlm_trainer" in caught.value.hint


def test_a_text_family_has_no_other_parts_and_a_place_for_its_buffers():
    for family in families():
        if not family.sees_images:
            assert (family.vision, family.projector, family.audio) == ((), (), ()), family.name
            assert family.part_of("rotary_emb.inv_freq") == "language", family.name
