"""The shipped bases are small, complete, honest about their digest, and answer a question about a picture."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from PIL import Image, ImageDraw  # noqa: E402  torch may be missing, and then nothing here can run
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer  # noqa: E402

BASES = Path(__file__).parents[2] / "specs" / "bases"
NAMES = ("qwen2_5_vl-tiny", "llava-tiny")
PROMPT = "Which digit is written in this picture? Answer with one word."
FILES = {
    "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
    "processor_config.json", "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip


@pytest.fixture(scope="module", params=NAMES)
def base_dir(request: pytest.FixtureRequest) -> Path:
    """Each shipped base in turn."""
    return BASES / request.param


@pytest.fixture(scope="module")
def model(base_dir: Path) -> Any:
    """The base, through the plain auto class."""
    return AutoModelForImageTextToText.from_pretrained(base_dir)


@pytest.fixture(scope="module")
def processor(base_dir: Path) -> Any:
    """The base's processor: the auto class for LLaVA, the image-only loader for Qwen."""
    if base_dir.name == "llava-tiny":
        return AutoProcessor.from_pretrained(base_dir)
    sys.path.insert(0, str(BASES))
    try:
        from loading import load_processor
    finally:
        sys.path.remove(str(BASES))
    return load_processor(base_dir)


def a_seven(side: int) -> Image.Image:
    """A seven in two white strokes on black."""
    picture = Image.new("RGB", (side, side))
    corners = [(side * x, side * y) for x, y in ((0.25, 0.12), (0.75, 0.12), (0.42, 0.88))]
    ImageDraw.Draw(picture).line(corners, fill="white", width=side // 9, joint="curve")
    return picture


def user(*parts: str | Image.Image) -> dict[str, Any]:
    """A user turn of texts and pictures."""
    content = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image"} for p in parts]
    return {"role": "user", "content": content}


def test_base_is_complete_and_under_five_megabytes(base_dir: Path) -> None:
    files = {path.name: path.stat().st_size for path in base_dir.iterdir()}
    assert set(files) == FILES
    assert sum(files.values()) < 5_000_000


def test_auto_classes_load_the_parts(base_dir: Path, model: Any) -> None:
    assert type(model).__name__ in ("Qwen2_5_VLForConditionalGeneration", "LlavaForConditionalGeneration")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    pictures = AutoImageProcessor.from_pretrained(base_dir, backend="pil")
    assert len(pictures([a_seven(64)], return_tensors="pt")["pixel_values"]) > 0
    recorded = json.loads((base_dir / "processor_config.json").read_text())["processor_class"]
    assert recorded in ("Qwen2_5_VLProcessor", "LlavaProcessor")


def test_any_text_survives_the_tokenizer(base_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_dir)
    text = "Zürich, 東京 🙂 \t {x} <b>\n7"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)


def test_every_linear_width_is_a_multiple_of_64(model: Any) -> None:
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    assert layers
    assert [name for name, layer in layers.items() if layer.in_features % 64 or layer.out_features % 64] == []


def test_projector_is_where_the_family_has_it(base_dir: Path, model: Any) -> None:
    names = [name for name, _ in model.named_parameters()]
    place = "model.visual.merger." if base_dir.name.startswith("qwen") else "model.multi_modal_projector."
    assert any(name.startswith(place) for name in names)


@pytest.mark.parametrize("side", [8, 48, 64, 300])
def test_reads_a_plain_seven_and_stops(model: Any, processor: Any, side: int) -> None:
    text = processor.apply_chat_template([user(a_seven(side), PROMPT)], add_generation_prompt=True)
    inputs = processor(text=text, images=[a_seven(max(side, 24)).resize((side, side))], return_tensors="pt")
    tokens = model.generate(**inputs, max_new_tokens=8)[0, inputs["input_ids"].shape[1] :]
    assert tokens[-1] == model.generation_config.eos_token_id
    said = processor.tokenizer.decode(tokens, skip_special_tokens=True)
    assert said == said.strip() != ""
    if side >= 48:
        assert said == "seven"


@pytest.mark.parametrize("size", [(48, 48), (100, 50), (20, 90), (1, 1), (333, 333)])
def test_any_picture_size_goes_through_the_model(model: Any, processor: Any, size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, "red")
    text = processor.apply_chat_template([user(picture, "What shape is this?")], add_generation_prompt=True)
    inputs = processor(text=text, images=[picture], return_tensors="pt")
    with torch.no_grad():
        assert model(**inputs).logits.isfinite().all()
    if size[0] == size[1]:
        count = (inputs["input_ids"] == model.config.image_token_id).sum().item()
        assert count == {"qwen2_5_vl": 9, "llava": 16}[model.config.model_type]


def test_chat_template_marks_every_assistant_turn(processor: Any) -> None:
    picture = a_seven(48)
    chat = [
        {"role": "system", "content": "Answer with one word."},
        user(picture, picture, "Which digit is this?"),
        {"role": "assistant", "content": [{"type": "text", "text": "seven"}]},
        {"role": "user", "content": "And its colour?"},
        {"role": "assistant", "content": "white"},
    ]
    text = processor.apply_chat_template(chat)
    qwen = "Qwen" in type(processor).__name__
    mark = "<|vision_start|><|image_pad|><|vision_end|>" if qwen else "<image>\n"
    assert text == (
        "<|im_start|>system\nAnswer with one word.<|im_end|>\n"
        f"<|im_start|>user\n{mark}{mark}Which digit is this?<|im_end|>\n"
        "<|im_start|>assistant\nseven<|im_end|>\n"
        "<|im_start|>user\nAnd its colour?<|im_end|>\n"
        "<|im_start|>assistant\nwhite<|im_end|>\n"
    )
    opening = processor.apply_chat_template(chat[:4], add_generation_prompt=True)
    assert text == opening + "white<|im_end|>\n"
    coded = processor.tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    spoken = [t for t, m in zip(coded["input_ids"], coded["assistant_masks"], strict=True) if m]
    assert processor.tokenizer.decode(spoken) == "seven<|im_end|>white<|im_end|>"
    assert len(processor(text=text, images=[picture, picture], return_tensors="pt")["input_ids"]) == 1


def test_card_states_licence_figures_and_the_digest_of_the_weights(base_dir: Path) -> None:
    card = (base_dir / "README.md").read_text()
    front = card.split("---\n")[1]
    assert "license: apache-2.0\n" in front
    assert "synthetic" in card.lower()
    assert "will not give the same bits" in " ".join(card.split())
    digest = hashlib.sha256((base_dir / "model.safetensors").read_bytes()).hexdigest()
    assert re.findall(r"sha256 `([0-9a-f]{64})`", card) == [digest]
    untouched = float(re.search(r"base, untouched \| (0\.\d{3}) \|", card).group(1))
    by_seed = re.search(r"seeds 0 / 1 / 2 \| (0\.\d{3}) / (0\.\d{3}) / (0\.\d{3})", card)
    tuned = [float(figure) for figure in by_seed.groups()]
    assert 0.25 < untouched < 0.5 < 0.9 < min(tuned)
