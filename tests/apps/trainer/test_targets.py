"""The words of `lora_targets` on small models whose layers are named by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from apps.trainer.families import Family
from apps.trainer.targets import Targets, expand_targets, expert_parameters, linear_modules
from kolm.errors import SpecError
from kolm.spec import VLMTrainConfig

FAMILY = Family(
    name="toy",
    model_types=("toy",),
    ids=(),
    vision=("vision",),
    projector=("bridge",),
    language=("layers", "gate_out"),
    head=("lm_head",),
    papers=(),
    stands_for={"q_proj": ("qkv_proj",), "k_proj": ("qkv_proj",), "v_proj": ("qkv_proj",)},
)


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.zeros(2, 8, 4))
        self.down_proj = nn.Parameter(torch.zeros(2, 4, 4))
        self.bias = nn.Parameter(torch.zeros(2, 4))


def linears(*names: str) -> nn.Module:
    module = nn.Module()
    for name in names:
        module.add_module(name, nn.Linear(4, 4))
    return module


class Toy(nn.Module):
    """One fused attention, one mixture with a router, a tower with the usual names, a closed attention."""

    def __init__(self, *, kind: str = "toy") -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type=kind)
        layer = nn.Module()
        layer.self_attn = linears("qkv_proj", "o_proj")
        layer.mlp = linears("gate_proj", "up_proj", "down_proj", "shared_expert_gate", "gate")
        layer.mlp.experts = Experts()
        layer.conv1d = nn.Conv1d(4, 4, 3)
        self.layers = nn.ModuleList([layer])
        self.vision = linears("q_proj", "fc1")
        self.vision.attention = nn.MultiheadAttention(4, 1)
        self.bridge = linears("linear_1")
        self.lm_head = nn.Linear(4, 8)


def expand(*words: str, model: Any = None, **settings: Any) -> Targets:
    chosen = {"lora_targets": words} if words else {}
    return expand_targets(model or Toy(), FAMILY, VLMTrainConfig(**chosen, **settings))


def test_the_default_seven_stand_for_fused_layers_and_absent_ones_are_passed_over():
    found = expand()
    assert found.linears == (
        "layers.0.mlp.down_proj",
        "layers.0.mlp.gate_proj",
        "layers.0.mlp.up_proj",
        "layers.0.self_attn.o_proj",
        "layers.0.self_attn.qkv_proj",
    )
    assert found.stands["q_proj"] == ["qkv_proj"]
    assert found.parameters == ()


def test_a_default_that_matches_nothing_at_all_is_refused():
    model = Toy()
    model.layers = nn.ModuleList([linears("w1", "w2")])
    with pytest.raises(SpecError, match="match no layer") as error:
        expand(model=model)
    assert "w1, w2" in error.value.hint


@pytest.mark.parametrize(
    ("words", "leaves"),
    [
        (("attention",), {"qkv_proj", "o_proj"}),
        (("mlp",), {"gate_proj", "up_proj", "down_proj"}),
        (("attention", "mlp"), {"qkv_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        (
            ("all-linear",),
            {"qkv_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "shared_expert_gate"},
        ),
        (("layers.0.self_attn.o_proj",), {"o_proj"}),
        (("model.layers.0.self_attn.o_proj", "up_proj"), {"o_proj", "up_proj"}),
        (("v_proj",), {"qkv_proj"}),
    ],
)
def test_a_word_means_layers_of_the_language_tower_and_never_a_router(
    words: tuple[str, ...], leaves: set[str]
):
    found = expand(*words)
    assert {name.rpartition(".")[2] for name in found.linears} == leaves
    assert all(name.startswith("layers.") for name in found.linears)


@pytest.mark.parametrize(
    ("words", "missing", "near"),
    [
        (("q_proj", "qvk_proj"), "qvk_proj", "did you mean qkv_proj?"),
        (("attentoin",), "attentoin", "did you mean attention?"),
        (("gate",), "gate", ""),
        (("linear_1",), "linear_1", ""),
        (("vision.q_proj",), "vision.q_proj", ""),
        (("layers.9.self_attn.o_proj", "o_proj"), "layers.9.self_attn.o_proj", ""),
    ],
    ids=["misspelt", "word", "router", "bridge", "tower", "layer"],
)
def test_a_name_that_means_nothing_is_refused_with_those_that_do(
    words: tuple[str, ...], missing: str, near: str
):
    with pytest.raises(SpecError, match=f"language tower: {missing}$") as error:
        expand(*words)
    assert "qkv_proj" in error.value.hint
    assert near in error.value.hint


def test_experts_are_the_3d_weights_in_the_models_order():
    found = expand("attention", "experts")
    assert found.parameters == ("layers.0.mlp.experts.gate_up_proj", "layers.0.mlp.experts.down_proj")
    assert found.stands["experts"] == ["down_proj", "gate_up_proj"]
    assert expert_parameters(Toy(), FAMILY)["layers.0.mlp.experts.gate_up_proj"] == (2, 8, 4)


def test_layers_that_peft_would_take_for_the_experts_are_left_alone():
    found = expand(model=Toy(kind="qwen3_moe"))
    assert {name.rpartition(".")[2] for name in found.linears} == {"qkv_proj", "o_proj"}
    with pytest.raises(
        SpecError, match=r"tower: down_proj \(PEFT takes down_proj, .* for this model's experts\)"
    ):
        expand("o_proj", "down_proj", model=Toy(kind="qwen3_moe"))


def test_other_parts_that_are_lora_get_every_layer_that_calls_its_weight():
    parts = {"vision": "lora", "projector": "lora"}
    found = expand("o_proj", freeze_vision=False, parts=parts)
    assert found.linears == ("bridge.linear_1", "layers.0.self_attn.o_proj", "vision.fc1", "vision.q_proj")
    alone = expand(parts={"language": "frozen", "projector": "lora"})
    assert (alone.linears, alone.stands) == (("bridge.linear_1",), {})


def test_a_part_without_linear_layers_takes_no_adapters():
    model = Toy()
    model.bridge = nn.Conv2d(1, 1, 1)
    with pytest.raises(SpecError, match="has no linear layer") as error:
        expand(model=model, parts={"projector": "lora"})
    assert "full" in error.value.hint


def test_a_linear_layer_whose_weight_is_read_past_it_is_none():
    assert "vision.attention.out_proj" not in linear_modules(Toy())


def test_what_a_fused_kernel_reads_past_its_layer_is_left_out():
    from apps.trainer.targets import linear_modules
    from tests.families import meta_build

    model = meta_build("nemotron_h_omni")
    named = [name for name, _ in model.named_modules() if name.endswith("mixer.out_proj")]
    linears = linear_modules(model)
    assert named
    assert not set(named) & linears.keys()
    assert {name.replace("out_proj", "in_proj") for name in named} <= linears.keys()
