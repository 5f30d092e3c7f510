"""Bases on their way into memory: what is refused, and in which words."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from apps.trainer.bases import find_base
from apps.trainer.collate import Encoder
from apps.trainer.load import load_model, meta_model
from apps.trainer.origins import Origins, tensor_digest
from apps.trainer.plan import plan_for
from apps.trainer.processor import load_processor
from kolm.errors import DataError, KolmError, SpecError, TrainError
from kolm.rows import TextPart, Turn
from kolm.spec import VLMTrainConfig


@pytest.fixture
def copy(qwen_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(qwen_base, tmp_path / "base"))


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_weights_that_are_not_there_are_found_out_before_loading(copy: Path):
    text = json.loads((copy / "config.json").read_text())["text_config"]
    edit_config(copy, text_config={**text, "vocab_size": 100_000})
    with pytest.raises(SpecError, match="the weight files hold"):
        meta_model(find_base(copy, model="base"))


def use(folder: Path) -> None:
    """Do with a base what a compile does with it first."""
    base = find_base(folder, model="base")
    meta_model(base)
    load_model(base, VLMTrainConfig())
    load_processor(base)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("model.safetensors", b"damaged", KolmError),
        ("model.safetensors", None, SpecError),
        ("config.json", b'{"model_type": "qwen2_5_vl", "vision_config": {"depth": "four"}}', SpecError),
        ("tokenizer.json", b"{", TrainError),
        ("processor_config.json", b"{", TrainError),
    ],
)
def test_a_damaged_checkpoint_ends_in_one_message(
    copy: Path, name: str, content: bytes | None, error: type[KolmError]
):
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    with pytest.raises(error) as raised:
        use(copy)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        (["tokenizer.json", "tokenizer_config.json"], "holds no tokenizer: none of tokenizer.json, "),
        (["processor_config.json"], "holds no processor: none of processor_config.json, "),
        (["chat_template.jinja"], "base has no chat template"),
    ],
    ids=["tokenizer", "processor", "chat template"],
)
def test_a_checkpoint_that_lacks_what_encodes_its_rows_is_refused(copy: Path, lost: list[str], says: str):
    for name in lost:
        (copy / name).unlink()
    with pytest.raises(SpecError, match=says) as raised:
        load_processor(find_base(copy, model="base"))
    assert raised.value.hint


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{% if %}", None])
def test_a_chat_template_that_fails_names_the_row(qwen_base: Path, template: str | None):
    base = find_base(qwen_base, model="base")
    encoder = Encoder(load_processor(base), meta_model(base).config, base.family)
    encoder.processor.chat_template = encoder.processor.tokenizer.chat_template = template
    with pytest.raises(DataError, match="eval row 7: the processor refuses it"):
        encoder.prompt([Turn("user", (TextPart("Which?"),))], [], what="eval row 7")


def test_origins_tell_identical_from_cast_from_unknown_bytes(tmp_path: Path):
    weight = torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7
    save_file({"visual.a.weight": weight, "visual.b.weight": weight + 1}, tmp_path / "model.safetensors")
    origins = Origins(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["visual.a.weight"].dtype == torch.float32

    def relation(name: str, tensor: torch.Tensor) -> str:
        return origins.of([name], tensor, tensor_digest(tensor)).relation

    assert relation("visual.a.weight", weight) == "identical"
    assert relation("visual.a.weight", weight.to(torch.bfloat16)) == "cast"
    assert relation("visual.a.weight", weight * 2) == "absent"
    assert relation("visual.a.weight", (weight * 2).to(torch.bfloat16)) == "absent"
    tied = origins.of(["embed.weight", "visual.b.weight"], weight + 1, tensor_digest(weight + 1))
    assert (tied.relation, tied.key) == ("tied", "visual.b.weight")


def test_a_base_whose_config_names_no_type_is_planned_and_loaded_in_that_of_its_weights(copy: Path):
    weights = copy / "model.safetensors"
    save_file({key: tensor.bfloat16() for key, tensor in load_file(weights).items()}, weights)
    config = json.loads((copy / "config.json").read_text())
    for section in (config, *(part for part in config.values() if isinstance(part, dict))):
        section.pop("dtype", None)
        section.pop("torch_dtype", None)
    (copy / "config.json").write_text(json.dumps(config))
    base = find_base(copy, model="base")
    plan = plan_for(meta_model(base), base.family, VLMTrainConfig())
    assert plan.dtype == "bfloat16"
    assert load_model(base, VLMTrainConfig()).dtype == torch.bfloat16
