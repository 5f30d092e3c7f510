"""QLoRA on the CPU: which layers are quantised, that they stay as they are, and what is refused before."""

import importlib.util
import json
import logging
import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from apps.trainer import freeze
from apps.trainer.bases import Base, find_base
from apps.trainer.generate import open_model
from apps.trainer.load import load_model, meta_model, model_to_plan
from apps.trainer.quantize import check_widths, language_linears, quantised_layers, settle
from apps.trainer.vlm import vlm_trainer
from kolm.errors import FreezeMismatchError, KolmError, SpecError, TrainError
from kolm.spec import VLMTrainConfig
from tests.compiled import Compiled, compile_with
from tests.conftest import skip_or_fail
from tests.digits import LLAVA, QWEN, rows
from tests.training import BRIEF, Run, train

FOUR: dict[str, Any] = {"method": "qlora", "quantization": {"bits": 4, "type": "nf4"}}
EIGHT: dict[str, Any] = {"method": "qlora", "quantization": {"bits": 8}}
STORED = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "bfloat16",
}
"""What config.json of a base says that is stored in the default 4-bit format."""


@pytest.fixture(scope="module")
def bnb() -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        skip_or_fail("qlora", "bitsandbytes is not installed: pip install 'kolm[qlora]'")


@pytest.fixture(scope="module")
def compiled(bnb: None, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compile_with(QWEN, tmp_path_factory.mktemp("qlora"), **FOUR)


@pytest.fixture(scope="module")
def trained(bnb: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(QWEN, tmp_path_factory.mktemp("trained"), count=32, num_train_epochs=4, **FOUR)


def load(base: Path, **settings: Any) -> Any:
    return load_model(find_base(base, model="base"), VLMTrainConfig(**{**BRIEF, **FOUR, **settings}))


def quantised_base(folder: Path, **settings: Any) -> Path:
    """Write the shipped Qwen as others ship theirs: 4 bits everywhere but in the head and the projector."""
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    shutil.copytree(QWEN, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    options = {k: v for k, v in (STORED | settings).items() if k != "quant_method"}
    config = BitsAndBytesConfig(llm_int8_skip_modules=["lm_head", "model.visual.merger"], **options)
    AutoModelForImageTextToText.from_pretrained(
        QWEN, quantization_config=config, device_map="cpu", dtype=torch.bfloat16
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def stored(bnb: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantised_base(tmp_path_factory.mktemp("stored") / "base")


@pytest.mark.usefixtures("bnb")
@pytest.mark.parametrize(("path", "settings"), [(QWEN, FOUR), (LLAVA, FOUR), (QWEN, EIGHT)])
def test_the_language_linears_are_quantised_and_nothing_else(path: Path, settings: dict[str, Any]):
    base, model = find_base(path, model="base"), load(path, **settings)
    assert set(quantised_layers(model)) == set(language_linears(meta_model(base), base)) != set()
    other = [p for n, p in model.named_parameters() if "language_model.layers" not in n]
    assert {p.dtype for p in other} == {torch.float32}  # the checkpoint's own


@pytest.mark.usefixtures("bnb")
def test_the_rest_is_in_16_bit_when_the_spec_says_so():
    model = load(QWEN, dtype="bfloat16")
    assert Counter(p.dtype for p in model.parameters()).keys() == {torch.bfloat16, torch.uint8}


@pytest.mark.usefixtures("bnb")
def test_what_transformers_would_quantise_by_itself_is_noticed():
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    careless = AutoModelForImageTextToText.from_pretrained(
        QWEN, quantization_config=BitsAndBytesConfig(load_in_4bit=True), device_map="cpu"
    )
    with pytest.raises(FreezeMismatchError, match=r"visual\.\S+ is quantised"):
        settle(careless, find_base(QWEN, model="base"), VLMTrainConfig(**FOUR))
    with pytest.raises(FreezeMismatchError, match="is not quantised"):
        settle(
            AutoModelForImageTextToText.from_pretrained(QWEN),
            find_base(QWEN, model="base"),
            VLMTrainConfig(**FOUR),
        )


def test_the_loss_falls_while_validation_runs_between_the_steps(trained: Run):
    """A forward pass in eval mode would pack the weights anew, were bitsandbytes left to it."""
    losses = trained.result.metrics["losses"]
    assert sum(losses[-2:]) < sum(losses[:2])
    assert trained.result.manifest.changed() == []
    assert trained.result.metrics["reopened"]["merged"] is None


def test_the_same_inputs_give_the_same_bytes(trained: Run, tmp_path: Path):
    again = train(QWEN, tmp_path, count=32, num_train_epochs=4, **FOUR)
    one, other = (r.result.adapter_dir / "adapter_model.safetensors" for r in (trained, again))
    assert one.read_bytes() == other.read_bytes()
    assert again.result.manifest == trained.result.manifest


def test_the_adapter_is_an_ordinary_one_in_floating_point(trained: Run):
    tensors = load_file(trained.result.adapter_dir / "adapter_model.safetensors")
    assert len(tensors) == 28
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert trained.result.manifest.servable_as == "lora"


def test_what_is_asked_is_quantised_as_what_was_trained(trained: Run):
    base, config, result = trained.trainer.base, trained.trainer.config, trained.result
    opened = open_model(base, config, trained=result.adapter_dir, manifest=result.manifest)
    assert len(quantised_layers(opened.model)) == 14


@pytest.mark.usefixtures("bnb")
@pytest.mark.parametrize("settings", [FOUR, EIGHT])
def test_running_the_model_changes_none_of_its_bytes(settings: dict[str, Any]):
    model = load(QWEN, **settings)
    before, ids = freeze.digests(model), torch.arange(10, 26).reshape(2, 8)
    logits = {}
    for mode in (True, False, True):
        model.train(mode)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=not mode):
            logits[mode] = model(input_ids=ids).logits
    with torch.no_grad():
        for layer in quantised_layers(model).values():
            layer(torch.ones(1, layer.in_features, dtype=torch.bfloat16))  # as autocast hands it on
    assert freeze.digests(model) == before
    assert math.isfinite(float(logits[False].abs().max()))


@pytest.mark.usefixtures("bnb")
def test_a_4_bit_model_says_in_eval_mode_what_it_says_in_training():
    model, ids = load(QWEN), torch.arange(10, 26).reshape(2, 8)
    with torch.no_grad():
        said = [model.train(mode)(input_ids=ids).logits for mode in (True, False)]
    assert torch.equal(*said)


@pytest.mark.usefixtures("bnb")
@pytest.mark.parametrize("settings", [FOUR, EIGHT])
def test_quantising_twice_gives_the_same_bytes(settings: dict[str, Any]):
    once, twice = (freeze.digests(load(QWEN, **settings)) for _ in range(2))
    assert once == twice
    assert any(name.endswith((".absmax", ".SCB")) for name in once)


def test_a_compile_verifies_against_its_base(compiled: Compiled):
    report = {check.number: check for check in compiled.report.checks}
    assert compiled.report.ok, compiled.report.failure
    origin = report[13]
    assert "identical parameters and 20 others not compared, 0 tensors of the base unused" in origin.detail


def test_the_manifest_says_what_was_quantised_from_what(compiled: Compiled):
    manifest = compiled.manifest
    packed = [p for p in manifest.parameters if p.base.relation == "quantised"]
    assert {(p.part, p.dtype, p.state) for p in packed} == {("language", "uint8", "frozen")}
    assert len(packed) == 14
    assert all(p.base.key and p.base.key.endswith(p.name.rpartition("layers.")[2]) for p in packed)
    states = Counter(
        b.name.rpartition("proj.")[2] for b in manifest.buffers if b.base.relation == "quantised"
    )
    assert set(states.values()) == {14}
    assert "weight.absmax" in states
    assert manifest.changed() == []


def test_parameters_are_counted_as_the_base_has_them(compiled: Compiled):
    """Two 4-bit weights share a byte; size and cost are those of the model, not of its packing."""
    plan, manifest = compiled.plan, compiled.manifest
    assert manifest.size("language", "head", added=False) == plan.elements("language", "head")
    assert compiled.artifact.lock.cost.language_params == plan.elements("language", "head")
    assert "bitsandbytes" in compiled.artifact.lock.versions


def test_a_base_that_is_stored_quantised_is_trained_as_it_is(stored: Path, tmp_path: Path):
    run = train(stored, tmp_path, count=32, num_train_epochs=4, **FOUR)
    losses, manifest = run.result.metrics["losses"], run.result.manifest
    assert sum(losses[-2:]) < sum(losses[:2])
    own = [p for p in manifest.parameters if p.before is not None]
    assert {p.base.relation for p in own} == {"identical"}
    assert "uint8" in {p.dtype for p in own if p.part == "vision"}  # as it is stored
    assert {p.dtype for p in own if p.part == "projector"} == {"bfloat16"}
    saved = [b for b in manifest.buffers if not b.name.endswith("inv_freq")]
    assert {b.base.relation for b in saved} == {"identical"}
    assert manifest.size("vision", "projector", added=False) == run.trainer.plan().elements(
        "vision", "projector"
    )


def test_a_part_that_is_stored_quantised_is_not_trained_in_full(stored: Path):
    config = {"freeze_vision": False, "parts": {"vision": "full"}}
    with pytest.raises(SpecError, match=r"parts\.vision: full, but the base stores visual\.\S+ quantised"):
        load(stored, **config)


@pytest.fixture(scope="module")
def plain() -> Base:
    return find_base(QWEN, model="base", weights=False)


@pytest.mark.parametrize(
    ("stored", "settings", "says"),
    [
        ({"quant_method": "gptq", "bits": 4}, FOUR, "a base quantised with gptq"),
        ({"quant_method": "awq"}, {}, "a base quantised with awq"),
        ({"quant_method": "compressed-tensors"}, FOUR, "quantised with compressed-tensors"),
        ({**STORED, "bnb_4bit_quant_storage": "bfloat16"}, FOUR, "a base quantised with bitsandbytes"),
        ({}, FOUR, "a method it does not name"),
        (STORED, {}, r"stored quantised \(4 bits, nf4, double\), which needs train.method: qlora"),
        (STORED, EIGHT, "says 8 bits, .*is stored as 4 bits, nf4"),
        (
            {**STORED, "bnb_4bit_quant_type": "fp4"},
            FOUR,
            "says 4 bits, nf4, double, the base is stored as 4 bits, fp4, double",
        ),
        ({"load_in_8bit": True}, FOUR, "says 4 bits, the base is stored as 8 bits"),
    ],
)
@pytest.mark.usefixtures("bnb")
def test_what_cannot_be_quantised_so_is_refused_before_anything_is_built(
    plain: Base, stored: dict[str, Any] | None, settings: dict[str, Any], says: str
):
    with pytest.raises(SpecError, match=says) as error:
        model_to_plan(replace(plain, quantization=stored), VLMTrainConfig(**settings))
    assert error.value.hint


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({**FOUR, "parts": {"language": "full"}}, "quantised weights cannot be trained"),
        ({**EIGHT, "quantization": {"bits": 8, "type": "fp4"}}, "`type` .* no effect with `bits: 8`"),
        ({**EIGHT, "quantization": {"bits": 8, "double": False}}, "`double` .* no effect"),
        ({**EIGHT, "quantization": {"bits": 8, "compute_dtype": "float32"}}, "`compute_dtype` .* no effect"),
        ({"method": "qlora"}, "need each other"),
        ({"quantization": {}}, "need each other"),
    ],
)
def test_settings_of_quantisation_that_cannot_both_hold(settings: dict[str, Any], says: str):
    with pytest.raises(SpecError, match=says):
        VLMTrainConfig.of(**settings)


def test_without_bitsandbytes_there_is_one_message(plain: Base, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    trainer = vlm_trainer(model_id=QWEN, train_dataset=rows(1), config=VLMTrainConfig(**FOUR))
    for attempt in (trainer.plan, lambda: load(QWEN)):
        with pytest.raises(TrainError, match="needs bitsandbytes") as error:
            attempt()
        assert error.value.hint == "pip install 'kolm[qlora]'"
    asked = replace(plain, quantization=STORED)
    with pytest.raises(KolmError, match="needs bitsandbytes"):
        model_to_plan(asked, VLMTrainConfig(**FOUR))


def test_a_layer_that_the_cpu_kernels_cannot_read_is_named(tmp_path: Path):
    folder = shutil.copytree(QWEN, tmp_path / "base", ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 400
    (folder / "config.json").write_text(json.dumps(config))
    base = find_base(folder, model="base", weights=False)
    with pytest.raises(
        SpecError, match=r"layers\.0\.mlp\.down_proj has 400 inputs, .* multiple of 64"
    ) as error:
        check_widths(meta_model(base), base)
    assert "bits: 8" in error.value.hint


@pytest.mark.usefixtures("bnb")
def test_a_stored_layer_that_the_cpu_kernels_would_read_wrongly_is_named(stored: Path):
    base, model = find_base(stored, model="base"), load(stored)
    name, layer = next(item for item in quantised_layers(model).items() if "visual" in item[0])
    layer.in_features = 100
    with pytest.raises(SpecError, match=rf"{name.removeprefix('model.')} has 100 inputs"):
        settle(model, base, VLMTrainConfig(**FOUR))


@pytest.mark.usefixtures("bnb")
def test_4_bit_weights_are_read_back_close_to_what_they_were():
    from bitsandbytes.functional import dequantize_4bit

    model, whole = load(QWEN), load_file(QWEN / "model.safetensors")
    for name, layer in quantised_layers(model).items():
        tail = name.rpartition("layers.")[2]
        value = next(t for key, t in whole.items() if key.endswith(f"layers.{tail}.weight"))
        apart = dequantize_4bit(layer.weight.data, layer.weight.quant_state) - value
        assert float(apart.norm() / value.norm()) < 0.12


@pytest.mark.usefixtures("bnb")
def test_nothing_is_said_of_kernels_that_nobody_asked_for():
    """What bitsandbytes warns of when it is imported: a package that only makes inference faster."""
    from bitsandbytes.backends.cpu import ops

    assert not ops.logger.isEnabledFor(logging.WARNING)
    assert ops.logger.isEnabledFor(logging.ERROR)
