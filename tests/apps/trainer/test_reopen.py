"""What was saved is what was trained, or it is refused: tensors, logits, merged logits, older layouts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from apps.trainer.bases import describe
from apps.trainer.collate import Encoder
from apps.trainer.load import load_model
from apps.trainer.probe import Probe, compare_reopened, merge, probe
from apps.trainer.processor import load_processor
from apps.trainer.reopen import check_loaded, open_trained
from apps.trainer.rows import Rows
from kolm.errors import EvalError
from kolm.spec import VLMTrainConfig
from tests.training import Run, train

CONFIG = VLMTrainConfig()
WEIGHTS = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"
VISION = "base_model.model.model.visual.blocks.0.attn.qkv"

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="session")
def whole(qwen_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(qwen_base, tmp_path_factory.mktemp("whole"), count=16, method="full", num_train_epochs=1)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue(getattr(request, "param", "qwen"))


def changed(
    run: Run,
    folder: Path,
    *,
    tensors: Callable[[Tensors], Any] = lambda tensors: None,
    settings: Callable[[dict[str, Any]], Any] = lambda settings: None,
) -> Path:
    """A copy of what a run saved, its tensors and settings changed in place."""
    shutil.copytree(run.result.adapter_dir, folder / "copy")
    file = next((folder / "copy").glob("*.safetensors"))
    held = load_file(file)
    tensors(held)
    save_file(held, file)
    config = folder / "copy" / SETTINGS
    if config.exists():
        said = json.loads(config.read_text())
        settings(said)
        config.write_text(json.dumps(said))
    return folder / "copy"


def opened(run: Run, folder: Path) -> Any:
    model = open_trained(load_model(run.trainer.base, CONFIG), folder)
    check_loaded(model, run.result.manifest)
    return model


def probed(run: Run, model: Any) -> Probe:
    encoder = Encoder(load_processor(run.trainer.base), model.config, run.trainer.base.family)
    return probe(model, Rows(encoder, run.trainer.dataset, CONFIG), pad_token=0)


@pytest.mark.parametrize("run", ["qwen", "llava"], indirect=True)
def test_the_saved_adapter_is_the_trained_model_and_so_is_the_merged_one(run: Run):
    found = run.result.metrics["reopened"]
    assert found["tensors"] == len(run.result.manifest.trainable)
    assert found["largest_logit"] > 1
    assert found["reloaded"] <= 1e-6 * found["largest_logit"]
    assert 0 < found["merged"] < 1e-5 * found["largest_logit"]


def test_weights_trained_in_full_are_the_trained_model(whole: Run):
    found = whole.result.metrics["reopened"]
    assert found["reloaded"] <= 1e-6 * found["largest_logit"]
    assert found["merged"] is None
    opened(whole, whole.result.adapter_dir)


@pytest.mark.parametrize("method", ["rslora", "dora"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_methods_and_types_open_as_they_were(qwen_base: Path, tmp_path: Path, method: str, dtype: str):
    run = train(qwen_base, tmp_path, count=16, num_train_epochs=1, method=method, dtype=dtype)
    found = run.result.metrics["reopened"]
    assert found["reloaded"] <= 1e-6 * found["largest_logit"]
    allowed = {"float32": 1e-5, "bfloat16": 2e-2}[dtype]
    assert found["merged"] < allowed * found["largest_logit"]


def older_qwen(name: str) -> str:
    return name.replace("model.language_model.layers", "model.layers").replace("model.visual", "visual")


def older_llava(name: str) -> str:
    name = name.replace("model.language_model.layers", "language_model.model.layers")
    return name.replace("model.multi_modal_projector", "multi_modal_projector")


@pytest.mark.parametrize(("run", "older"), [("qwen", older_qwen), ("llava", older_llava)], indirect=["run"])
@pytest.mark.parametrize("named", [True, False], ids=["tensors and settings", "tensors alone"])
def test_an_adapter_in_the_layout_before_4_52_opens_whole(
    run: Run, older: Callable[[str], str], named: bool, tmp_path: Path
):
    prefix = "base_model.model."

    def rename(tensors: Tensors) -> None:
        for name in list(tensors):
            tensors[prefix + older(name.removeprefix(prefix))] = tensors.pop(name)
        assert not any("language_model.layers" in name for name in tensors)

    def settle(settings: dict[str, Any]) -> None:
        for key in ("target_modules", "modules_to_save"):
            settings[key] = settings[key] and [older(name) for name in settings[key]]

    folder = changed(run, tmp_path, tensors=rename, **({"settings": settle} if named else {}))
    compare_reopened(
        run.trainer.base, CONFIG, folder,
        manifest=run.result.manifest, trained=probed(run, opened(run, run.result.adapter_dir)),
    )  # fmt: skip


def test_weights_in_an_older_layout_open_whole(whole: Run, tmp_path: Path):
    def rename(tensors: Tensors) -> None:
        for name in list(tensors):
            if name.startswith("language_model.layers"):
                tensors[name.removeprefix("language_model.")] = tensors.pop(name)

    opened(whole, changed(whole, tmp_path, tensors=rename))


def first(tensors: Tensors) -> str:
    return sorted(tensors)[0]


DAMAGE: dict[str, tuple[Callable[[Tensors], Any], str]] = {
    "a tensor is zero": (lambda t: t.update({first(t): torch.zeros_like(t[first(t)])}), "1 of 28 trained"),
    "a tensor is missing": (lambda t: t.pop(first(t)), "1 missing"),
    "a tensor too many": (
        lambda t: t.update({f"{VISION}.lora_A.weight": torch.zeros(8, 64)}),
        "1 too many",
    ),
    "another shape": (lambda t: t.update({first(t): t[first(t)][:, 1:].contiguous()}), "1 of another shape"),
    "an unknown module": (
        lambda t: t.update({first(t).replace("down_proj", "c_proj"): t.pop(first(t))}),
        "modules that this model does not have",
    ),
    "another model's layers": (
        lambda t: t.update({name.replace("layers.1", "layers.7"): t.pop(name) for name in list(t)}),
        "modules that this model does not have",
    ),
    "empty": (lambda t: t.clear(), "28 missing"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_adapter_is_refused(
    qwen: Run, tmp_path: Path, damage: Callable[[Tensors], Any], reason: str
):
    with pytest.raises(EvalError, match=reason) as caught:
        opened(qwen, changed(qwen, tmp_path, tensors=damage))
    assert caught.value.hint


SETTLED = {
    "a module that is not there": (
        lambda s: s["target_modules"].append("model.language_model.layers.9.self_attn.q_proj"),
        "not in this model",
    ),
    "names that reach the vision tower too": (
        lambda s: s.update(target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]), "missing"
    ),
    "another method": (lambda s: s.update(peft_type="IA3"), "IA3"),
    "a setting of another peft": (lambda s: s.update(lora_magic=True), "lora_magic"),
    "nothing": (lambda s: s.clear(), "None"),
}  # fmt: skip


@pytest.mark.parametrize(("settle", "reason"), SETTLED.values(), ids=SETTLED)
def test_settings_that_do_not_go_with_the_tensors_are_refused(
    qwen: Run, tmp_path: Path, settle: Callable[[dict[str, Any]], Any], reason: str
):
    with pytest.raises(EvalError, match=reason):
        opened(qwen, changed(qwen, tmp_path, settings=settle))


def test_pickled_weights_are_not_opened(qwen: Run, tmp_path: Path):
    folder = changed(qwen, tmp_path)
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(EvalError, match="cannot be loaded"):
        opened(qwen, folder)


def test_weights_that_lack_a_tensor_are_refused(whole: Run, tmp_path: Path):
    folder = changed(whole, tmp_path, tensors=lambda t: t.pop(first(t)))
    with pytest.raises(EvalError, match="1 of 26 trained"):
        opened(whole, folder)


def test_a_setting_that_no_tensor_shows_is_found_by_the_logits(qwen: Run, tmp_path: Path):
    said = probed(qwen, opened(qwen, qwen.result.adapter_dir))
    folder = changed(qwen, tmp_path, settings=lambda s: s.update(lora_alpha=s["lora_alpha"] + 1))
    with pytest.raises(EvalError, match="loaded again, answers otherwise"):
        compare_reopened(qwen.trainer.base, CONFIG, folder, manifest=qwen.result.manifest, trained=said)


def test_a_buffer_that_differs_is_found_by_the_logits(qwen: Run, tmp_path: Path):
    said = probed(qwen, opened(qwen, qwen.result.adapter_dir))
    shutil.copytree(qwen.trainer.base.directory, tmp_path / "base")
    path = tmp_path / "base" / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["rope_parameters"]["rope_theta"] *= 2
    path.write_text(json.dumps(config))
    other = describe(tmp_path / "base", model="other", revision=None)
    with pytest.raises(EvalError, match="loaded again, answers otherwise"):
        compare_reopened(other, CONFIG, qwen.result.adapter_dir, manifest=qwen.result.manifest, trained=said)


def test_a_merge_that_passes_over_a_layer_is_refused(qwen: Run):
    model = opened(qwen, qwen.result.adapter_dir)
    layer = model.get_submodule(f"base_model.model.{qwen.trainer.plan().targets[3]}")
    layer.merge = lambda *args, **kwargs: None
    with pytest.raises(EvalError, match="merging left 1 layers as they were"):
        merge(model)


def test_factors_that_say_nothing_have_nothing_to_lose(qwen: Run, tmp_path: Path):
    folder = changed(qwen, tmp_path, tensors=lambda t: [v.zero_() for k, v in t.items() if "lora_B" in k])
    base = load_model(qwen.trainer.base, CONFIG)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    after = merge(open_trained(base, folder)).state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def experts() -> Any:
    """A tiny mixture whose experts are 3-D parameters; the same weights each time."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "moe_intermediate_size": 16, "vocab_size": 64}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 2}
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(num_experts=4, num_experts_per_tok=2, **sizes, **heads))


def test_factors_of_experts_open_and_merge(tmp_path: Path):
    from peft import LoraConfig, get_peft_model

    held = [
        f"model.layers.{i}.mlp.experts.{name}" for i in range(2) for name in ("gate_up_proj", "down_proj")
    ]
    queries = [f"model.layers.{i}.self_attn.q_proj" for i in range(2)]
    made = get_peft_model(experts(), LoraConfig(r=2, target_modules=queries, target_parameters=held)).eval()
    with torch.no_grad():
        for name, tensor in made.named_parameters():
            if "lora_B" in name:
                tensor.normal_()
    made.save_pretrained(str(tmp_path))
    tokens = torch.arange(8)[None]
    with torch.no_grad():
        meant = made(tokens).logits
        model = open_trained(experts(), tmp_path)
        assert torch.allclose(model(tokens).logits, meant, atol=1e-5)
        assert torch.allclose(merge(model)(tokens).logits, meant, atol=1e-5 * float(meant.abs().max()))
    tensors = load_file(tmp_path / WEIGHTS)
    lost = next(name for name in tensors if "experts.base_layer.lora_A" in name)
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, tmp_path / WEIGHTS)
    with pytest.raises(EvalError, match="1 missing"):
        open_trained(experts(), tmp_path)
    settings = json.loads((tmp_path / SETTINGS).read_text())
    for key in ("target_modules", "target_parameters"):
        settings[key] = [name.replace("model.layers", "decoder.layers") for name in settings[key]]
    (tmp_path / SETTINGS).write_text(json.dumps(settings))
    older = {name.replace("model.layers", "decoder.layers"): tensor for name, tensor in tensors.items()}
    save_file(older, tmp_path / WEIGHTS)
    with torch.no_grad():
        assert torch.allclose(open_trained(experts(), tmp_path)(tokens).logits, meant, atol=1e-5)
