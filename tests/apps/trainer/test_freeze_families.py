"""Every family at its real default size on the meta device: wrapped as planned, and nothing else.

PEFT wraps the model for real; only the numbers are missing.
"""

import copy
import gc
import math
from typing import Any

import pytest

from apps.trainer import freeze
from apps.trainer.families import Family, families
from apps.trainer.plan import Plan, plan_for
from apps.trainer.targets import expert_parameters, linear_modules
from kolm.errors import SpecError
from kolm.layers import holds_experts, kind_of, speaks_of_sight, stands_for
from kolm.names import factor_name, plain_name
from kolm.spec import VLMTrainConfig
from tests.families import VARIANTS, meta_build, meta_configs

LABELS = [*(kind for f in families() if f.checked for kind in f.model_types), *VARIANTS]

MIXTURES = ("glm4v_moe", "llama4", "nemotron_h_omni", "qwen2_moe", "qwen3_omni_moe", "qwen3_vl_moe")

OTHERS = ("altup", "hyper_connection", "indexer", "laurel", "per_layer", "shared_expert_gate")
"""What the names of linear layers say that are neither attention nor MLP."""


@pytest.fixture(autouse=True, scope="module")
def no_garbage_collection():
    """Hold on to garbage: the models are many small objects, and looking for it takes a third of the time."""
    gc.disable()
    yield
    gc.enable()


def planned(label: str, **settings: Any) -> tuple[Plan, Family, Any]:
    """Plan a family's model and wrap a copy of it: the model itself is shared."""
    family, model = meta_configs()[label][0], copy.deepcopy(meta_build(label))
    config = VLMTrainConfig(**settings)
    plan = plan_for(model, family, config)
    return plan, family, freeze.wrap(model, plan, config)


def meant(plan: Plan) -> set[str]:
    """Return the layers that the plan's words mean, found as check 11 does: by names and shapes alone."""
    mixture = any(len(shape) == 3 and holds_experts(name) for name, shape in plan.shapes.items())
    weights = [n for n, part in plan.parts.items() if part == "language" and len(plan.shapes[n]) == 2]
    layers = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    return {
        name
        for word, leaves in plan.stands.items()
        for name in layers
        if name.rpartition(".")[2] in ([*leaves] if mixture else [*leaves, word])
        and kind_of(name) != "router"
        and stands_for(name, word=word, leaves=leaves)
    }


@pytest.mark.parametrize("label", LABELS)
def test_under_the_default_a_live_model_is_what_was_planned(label: str):
    plan, family, wrapped = planned(label)
    assert meant(plan) == {plain_name(name) for name in plan.targets}
    assert {plan.parts[f"{plain_name(name)}.weight"] for name in plan.targets} == {"language"}
    assert not [n for n, part in plan.parts.items() if part == "language" and speaks_of_sight(n)]
    states = freeze.states_of(wrapped)
    assert states == plan.states
    trained = {family.part_of(name) for name, state in states.items() if state == "trainable"}
    assert trained <= {"language", "projector"}
    full = [name for name, part in plan.parts.items() if part == "projector" and states[name] == "trainable"]
    held = [name for name, part in plan.parts.items() if part == "projector"]
    expected = set(held) - {*plan.left_frozen} if plan.treatments["projector"] == "full" else set()
    assert set(full) == expected
    assert plan.added == sum(
        math.prod(p.shape) for name, p in freeze.live_parameters(wrapped).items() if ".lora_" in name
    )


@pytest.mark.parametrize("label", LABELS)
def test_every_linear_layer_of_a_language_tower_has_a_kind(label: str):
    family = meta_configs()[label][0]
    names = [plain_name(name) for name in linear_modules(meta_build(label))]
    tower = [name for name in names if family.part_of(name) == "language"]
    kinds = {kind_of(name) for name in tower}
    assert "attention" in kinds
    assert "mlp" in kinds or expert_parameters(meta_build(label), family)
    odd = [name for name in tower if kind_of(name) == "other"]
    assert not [name for name in odd if not any(word in name for word in OTHERS)]
    plan = plan_for(meta_build(label), family, VLMTrainConfig(lora_targets=("all-linear",)))
    assert meant(plan) == {plain_name(name) for name in plan.targets}


@pytest.mark.parametrize("label", MIXTURES)
def test_experts_get_factors_of_their_own_names_and_the_routers_none(label: str):
    plan, family, wrapped = planned(label, lora_targets=("all-linear", "experts"))
    states = freeze.states_of(wrapped)
    assert states == plan.states
    experts = [plain_name(name) for name in expert_parameters(meta_build(label), family)]
    assert all(
        states[factor_name(name, f"lora_{side}", expert=True)] == "trainable"
        for name in experts
        for side in "AB"
    )
    assert not [name for name in plan.targets if kind_of(plain_name(name)) == "router"]
    assert plan.servable_as == "merged"


@pytest.mark.parametrize("label", ["glm4v_moe", "qwen3_omni_moe", "qwen3_moe"])
def test_names_that_peft_takes_for_the_experts_are_not_used_for_other_layers(label: str):
    plan, _, _ = planned(label)
    assert plan.stands["gate_proj"] == plan.stands["down_proj"] == []
    assert not plan.target_parameters
    if any(name.endswith(".down_proj") for name in linear_modules(meta_build(label))):
        with pytest.raises(SpecError, match="for this model's experts"):
            planned(label, lora_targets=("q_proj", "down_proj"))


@pytest.mark.parametrize("label", ["qwen2_5_vl", "qwen3_vl", "llava_next", "mllama", "idefics3", "molmo2"])
def test_a_vision_tower_and_projector_take_adapters_in_every_linear_layer(label: str):
    parts = {"vision": "lora", "projector": "lora"}
    plan, family, wrapped = planned(label, freeze_vision=False, parts=parts)
    assert freeze.states_of(wrapped) == plan.states
    linears = [n for n in linear_modules(meta_build(label)) if family.part_of(plain_name(n)) in parts]
    assert {name for name in plan.targets if family.part_of(plain_name(name)) in parts} == {*linears}
    assert plan.servable_as == "lora+connector"


@pytest.mark.parametrize(
    ("label", "left"),
    [
        ("qwen2_5_vl", ()),
        ("llama4", ("vision_model.class_embedding", "vision_model.positional_embedding_vlm")),
    ],
)
def test_a_tower_is_trained_in_full_around_a_projector_that_stays(label: str, left: tuple[str, ...]):
    plan, _, wrapped = planned(label, freeze_vision=False, parts={"vision": "full", "projector": "frozen"})
    states = freeze.states_of(wrapped)
    assert states == plan.states
    assert plan.left_frozen == left
    assert {states[name] for name, part in plan.parts.items() if part == "projector"} == {"frozen"}


def test_a_bare_parameter_of_the_projector_stays_frozen_and_is_named():
    plan, _, _ = planned("llava_next")
    assert plan.left_frozen == ("image_newline",)
    assert plan.states["image_newline"] == "frozen"
    whole, _, _ = planned("llava_next", method="full")
    assert whole.left_frozen == ()
    assert whole.states["image_newline"] == "trainable"
