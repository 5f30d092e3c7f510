"""The plan: what a config means for a base, before any weight is read."""

from pathlib import Path

import pytest

from apps.trainer.bases import find_base
from apps.trainer.families import family_of
from apps.trainer.load import meta_model
from apps.trainer.plan import Plan, linear_modules, plan_for
from kolm.errors import FreezeMismatchError, SpecError
from kolm.spec import VLMTrainConfig


def plan(base: Path, **settings: object) -> Plan:
    return plan_for(meta_model(find_base(base, model="base")), family_of(base), VLMTrainConfig(**settings))


def tower(base: Path) -> list[str]:
    """Linear layers of the vision tower that carry one of the usual seven names."""
    seven = VLMTrainConfig().lora_targets
    names = linear_modules(meta_model(find_base(base, model="base")))
    return [
        n
        for n in names
        if family_of(base).part_of(n.removeprefix("model.")) == "vision" and n.split(".")[-1] in seven
    ]


@pytest.mark.parametrize("base", ["qwen_base", "llava_base"])
def test_no_lora_target_lies_in_the_vision_tower_although_its_layers_have_the_usual_names(base: str, request):
    folder = request.getfixturevalue(base)
    assert tower(folder), "the trap must be there for this test to mean anything"
    targets = plan(folder).targets
    assert targets
    assert all(name.startswith("model.language_model.") for name in targets)


def test_qwens_projector_lies_inside_the_tower_and_is_frozen_with_it(qwen_base: Path):
    chosen = plan(qwen_base)
    assert chosen.treatments["projector"] == "frozen"
    assert chosen.servable_as == "lora"
    assert chosen.full_modules == ()


def test_llavas_projector_stands_outside_and_is_trained_in_full(llava_base: Path):
    chosen = plan(llava_base)
    assert chosen.treatments["projector"] == "full"
    assert chosen.full_modules == ("model.multi_modal_projector",)
    assert chosen.servable_as == "merged"
    assert chosen.states["multi_modal_projector.linear_1.weight"] == "trainable"


def test_parts_projector_full_trains_qwens_merger(qwen_base: Path):
    chosen = plan(qwen_base, parts={"projector": "full"})
    assert chosen.full_modules == ("model.visual.merger",)
    trained = [name for name, state in chosen.states.items() if state == "trainable" and "lora" not in name]
    assert trained
    assert all(name.startswith("visual.merger.") for name in trained)


def test_all_linear_means_the_language_towers(qwen_base: Path):
    targets = plan(qwen_base, lora_targets=("all-linear",)).targets
    assert len(targets) == 14
    assert all(".language_model." in name for name in targets)


def test_targets_may_be_full_names(qwen_base: Path):
    name = "language_model.layers.0.self_attn.q_proj"
    assert plan(qwen_base, lora_targets=(name,)).targets == (f"model.{name}",)


@pytest.mark.parametrize("target", ["qkv", "visual.blocks.0.mlp.gate_proj", "nothing"])
def test_a_target_that_matches_nothing_in_the_language_tower_is_refused(qwen_base: Path, target: str):
    with pytest.raises(SpecError, match=target) as error:
        plan(qwen_base, lora_targets=("q_proj", target))
    assert "q_proj" in error.value.hint


def test_the_plan_counts_what_lora_adds(qwen_base: Path):
    chosen = plan(qwen_base, lora_r=4, lora_targets=("q_proj",))
    linears = linear_modules(meta_model(find_base(qwen_base, model="base")))
    assert chosen.added == sum(4 * sum(linears[name]) for name in chosen.targets)


def test_what_lora_adds_is_counted_in_the_part_it_adapts(qwen_base: Path):
    parts = {"vision": "lora", "projector": "lora"}
    chosen = plan(qwen_base, lora_r=4, freeze_vision=False, parts=parts)
    linears = linear_modules(meta_model(find_base(qwen_base, model="base")))
    inside = {"vision": "visual.blocks.", "projector": "visual.merger.", "language": "language_model."}
    assert chosen.added_to == {
        part: sum(4 * sum(linears[name]) for name in chosen.targets if f".{path}" in name)
        for part, path in inside.items()
    }


def test_a_family_that_does_not_describe_the_model_is_refused(qwen_base: Path, llava_base: Path):
    with pytest.raises(FreezeMismatchError, match="has no part"):
        plan_for(meta_model(find_base(qwen_base, model="base")), family_of(llava_base), VLMTrainConfig())
