"""Experts held as 3-D parameters, on small mixtures: named, trained, saved, loaded and verified."""

from pathlib import Path
from typing import Any

import pytest

from apps.trainer import freeze
from apps.trainer.adapter import save_trained
from apps.trainer.bases import find_base
from apps.trainer.families import family_of
from apps.trainer.plan import Plan, plan_for
from kolm.errors import SpecError
from kolm.names import plain_names
from kolm.spec import VLMTrainConfig
from kolm.tensors import read_tensors

SIZES = {
    "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2,
}  # fmt: skip

TARGETS = ("attention", "experts")
LAYER = "layers.0.mlp.experts"


@pytest.fixture(scope="module", params=["qwen2_moe", "qwen3_moe"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny mixture; PEFT reads the second's adapter settings as those of an older layout."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    AutoModelForCausalLM.from_config(CONFIG_MAPPING[request.param](**SIZES)).save_pretrained(folder)
    return folder


def load(base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base)


def trained(base: Path, **settings: Any) -> tuple[Any, Plan, list[float]]:
    """Train a mixture on one batch of numbers for a few steps."""
    import torch

    config = VLMTrainConfig(lora_r=2, **{"lora_targets": TARGETS, **settings})
    torch.manual_seed(0)
    model = load(base)
    plan = plan_for(model, family_of(base), config)
    wrapped = freeze.wrap(model, plan, config)
    freeze.training_mode(wrapped, family_of(base), plan)
    tokens = torch.arange(24).reshape(2, 12)
    optimizer = torch.optim.AdamW([p for p in wrapped.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(4):
        loss = wrapped(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return wrapped.eval(), plan, losses


def test_each_expert_weight_has_factors_of_its_own_and_they_learn(base: Path):
    model, plan, losses = trained(base)
    assert losses[-1] < losses[0]
    live = freeze.live_parameters(model)
    assert freeze.states_of(model) == plan.states
    for weight in ("gate_up_proj", "down_proj"):
        count, outputs, inputs = live[f"{LAYER}.{weight}"].shape
        assert tuple(live[f"{LAYER}.lora_A.{weight}"].shape) == (2 * count, inputs)
        assert tuple(live[f"{LAYER}.lora_B.{weight}"].shape) == (outputs, 2 * count)
        assert live[f"{LAYER}.lora_B.{weight}"].abs().max() > 0
    assert plan.added == sum(p.numel() for p in live.values() if p.requires_grad)
    assert plan.servable_as == "merged"


def test_a_saved_adapter_names_them_as_the_live_model_does_and_peft_loads_it(base: Path, tmp_path: Path):
    import torch
    from peft import PeftModel

    model, plan, _ = trained(base)
    folder = save_trained(model, plan, find_base(base, model="base"), tmp_path / "adapter")
    experts = [name.removeprefix("model.") for name in plan.target_parameters]
    held = read_tensors(folder / "adapter_model.safetensors")
    names = plain_names(held, experts=experts)
    live = freeze.live_parameters(model)
    assert {names[key]: tuple(info.shape) for key, info in held.items()} == {
        name: tuple(live[name].shape) for name in plan.trained
    }
    tokens = torch.arange(12).reshape(1, 12)
    with torch.no_grad():
        before = model(input_ids=tokens).logits
        again = PeftModel.from_pretrained(load(base), str(folder)).eval()(input_ids=tokens).logits
    assert torch.equal(before, again)


def test_an_observed_mixture_is_as_planned(base: Path):
    """The manifest finds the experts by the factors' names; the base's files may hold them one by one."""
    found, model = find_base(base, model="base"), load(base)
    before = freeze.digests(model)
    wrapped, plan, _ = trained(base)
    norms = dict.fromkeys(plan.trained, 1.0)
    manifest = freeze.observe(wrapped, base=found, before=before, gradients=norms)
    freeze.compare(manifest, plan)
    manifest.check()
    assert manifest.expert_parameters == [name.removeprefix("model.") for name in plan.target_parameters]
    assert manifest.servable_as == "merged"


def test_one_expert_weight_may_be_named(base: Path):
    name = f"{LAYER}.down_proj"
    _, plan, _ = trained(base, lora_targets=("q_proj", name))
    assert plan.target_parameters == (f"model.{name}",)
    assert plan.stands == {"q_proj": ["q_proj"], name: [name]}


@pytest.mark.parametrize("settings", [{"method": "dora"}, {"lora_dropout": 0.1}])
def test_what_peft_cannot_do_to_experts_is_refused(base: Path, settings: dict[str, Any]):
    with pytest.raises(SpecError, match="3-D parameters") as error:
        trained(base, **settings)
    assert "experts" in error.value.hint
