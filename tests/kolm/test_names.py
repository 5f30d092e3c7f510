"""Names of parameters: PEFT's wrappers gone, factors told apart."""

import pytest

from kolm.globs import matches
from kolm.names import adapted_by, factor_name, plain_name, plain_names

LAYER = "language_model.layers.0.q_proj"
PROJECTOR = "multi_modal_projector"
WRAPPED = "base_model.model.model."
EXPERTS = "language_model.layers.0.mlp.experts"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (f"{WRAPPED}{LAYER}.lora_A.default.weight", f"{LAYER}.lora_A"),
        (f"{WRAPPED}{LAYER}.lora_A.weight", f"{LAYER}.lora_A"),
        (f"{WRAPPED}{LAYER}.base_layer.weight", f"{LAYER}.weight"),
        (f"{WRAPPED}{LAYER}.lora_magnitude_vector.default.weight", f"{LAYER}.lora_magnitude_vector"),
        (f"{WRAPPED}{PROJECTOR}.modules_to_save.default.linear_1.weight", f"{PROJECTOR}.linear_1.weight"),
        (f"{WRAPPED}{PROJECTOR}.original_module.linear_1.weight", f"{PROJECTOR}.linear_1.weight"),
        ("base_model.model.lm_head.weight", "lm_head.weight"),
        ("model.visual.merger.ln_q.weight", "visual.merger.ln_q.weight"),
        ("visual.merger.ln_q.weight", "visual.merger.ln_q.weight"),
    ],
)
def test_names_carry_no_wrapper_and_no_adapter_name(key: str, name: str):
    assert plain_name(key) == name


def test_factors_of_experts_are_told_apart_by_how_deep_they_are_wrapped():
    order = [f"{EXPERTS}.gate_up_proj", f"{EXPERTS}.down_proj"]
    keys = {
        f"{WRAPPED}{EXPERTS}.base_layer.lora_A.weight": f"{EXPERTS}.lora_A.gate_up_proj",
        f"{WRAPPED}{EXPERTS}.lora_A.weight": f"{EXPERTS}.lora_A.down_proj",
        f"{WRAPPED}{EXPERTS}.lora_B.default.weight": f"{EXPERTS}.lora_B.down_proj",
        f"{WRAPPED}{LAYER}.lora_A.weight": f"{LAYER}.lora_A",
    }
    assert plain_names(keys, experts=order) == keys
    alone = plain_names(keys, experts=order[1:])
    assert alone[f"{WRAPPED}{EXPERTS}.lora_A.weight"] == f"{EXPERTS}.lora_A.down_proj"


@pytest.mark.parametrize("expert", [False, True])
@pytest.mark.parametrize("factor", ["lora_A", "lora_magnitude_vector"])
def test_the_name_of_a_factor_says_what_it_adapts(factor: str, expert: bool):
    adapted = f"{EXPERTS}.down_proj"
    name = factor_name(adapted, factor, expert=expert)
    assert adapted_by(name) == (adapted, factor)
    assert matches(adapted, name) is not expert
