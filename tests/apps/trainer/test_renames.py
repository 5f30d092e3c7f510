"""Which saved module is which live one: layouts that transformers has left behind, and none by guessing."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.trainer.renames import find_roots, owner_of, rename_module, rename_tensor


def linear(inside: int, outside: int) -> SimpleNamespace:
    weight = SimpleNamespace(shape=(outside, inside))
    return SimpleNamespace(in_features=inside, out_features=outside, weight=weight)


def factors(module: str, inside: int, outside: int, rank: int = 4) -> dict[str, tuple[int, ...]]:
    return {f"{module}.lora_A.weight": (rank, inside), f"{module}.lora_B.weight": (outside, rank)}


LIVE = {
    **{f"model.language_model.layers.{i}.self_attn.q_proj": linear(32, 64) for i in range(2)},
    **{f"model.vision_tower.encoder.layers.{i}.self_attn.q_proj": linear(16, 16) for i in range(3)},
    "model.visual.blocks.0.attn.qkv": linear(16, 48),
    "model.multi_modal_projector.linear_1": linear(16, 32),
    "lm_head": linear(32, 100),
    "model": SimpleNamespace(),
}

LAYOUTS = {
    "Qwen2-VL before 4.52": (
        "model.layers.1.self_attn.q_proj",
        "model.language_model.layers.1.self_attn.q_proj",
    ),
    "Qwen2-VL's tower before 4.52": ("visual.blocks.0.attn.qkv", "model.visual.blocks.0.attn.qkv"),
    "LLaVA before 4.52": (
        "language_model.model.layers.0.self_attn.q_proj",
        "model.language_model.layers.0.self_attn.q_proj",
    ),
    "LLaVA's projector before 4.52": (
        "multi_modal_projector.linear_1",
        "model.multi_modal_projector.linear_1",
    ),
    "CLIP before 5.6": (
        "vision_tower.vision_model.encoder.layers.2.self_attn.q_proj",
        "model.vision_tower.encoder.layers.2.self_attn.q_proj",
    ),
    "LLaVA's head before 4.52": ("language_model.lm_head", "lm_head"),
    "as it is": ("model.visual.blocks.0.attn.qkv", "model.visual.blocks.0.attn.qkv"),
}


@pytest.mark.parametrize(("then", "present"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_module_that_moved_is_found(then: str, present: str):
    layer = LIVE[present]
    saved = factors(then, layer.in_features, layer.out_features)
    roots = find_roots(saved, LIVE)
    assert roots is not None
    assert {rename_tensor(name, roots, live=LIVE) for name in saved} == {
        name.replace(then, present) for name in saved
    }
    assert rename_module(then, roots, live=LIVE) == present


def test_a_module_trained_in_full_is_renamed_with_its_tensors():
    saved = {"multi_modal_projector.linear_1.weight": (32, 16)}
    roots = find_roots(saved, LIVE)
    assert rename_module("multi_modal_projector", roots or {}, live=LIVE) == "model.multi_modal_projector"


NO_WAY = {
    "a name that no module ends in": factors("model.layers.0.self_attn.c_attn", 32, 64),
    "another width": factors("model.layers.0.self_attn.q_proj", 32, 65),
    "a layer more than there are": factors("model.layers.2.self_attn.q_proj", 32, 64),
    "two roots for one": {
        **factors("a.layers.0.self_attn.q_proj", 32, 64),
        **factors("b.layers.0.self_attn.q_proj", 32, 64),
    },
}


@pytest.mark.parametrize("saved", NO_WAY.values(), ids=NO_WAY)
def test_where_there_is_no_way_nothing_is_renamed(saved: dict[str, tuple[int, ...]]):
    assert find_roots(saved, LIVE) is None


def test_where_there_are_two_ways_nothing_is_renamed():
    towers = {f"{tower}.layers.0.fc1": linear(8, 8) for tower in ("model.text", "model.vision")}
    assert find_roots(factors("layers.0.fc1", 8, 8), towers) is None
    narrower = towers | {"model.vision.layers.0.fc1": linear(8, 9)}
    assert find_roots(factors("layers.0.fc1", 8, 8), narrower) == {"": "model.text"}


def test_factors_of_experts_belong_to_the_module_that_holds_them():
    assert owner_of("model.layers.0.mlp.experts.base_layer.lora_A.weight") == (
        "model.layers.0.mlp.experts",
        "lora_A",
    )
    assert owner_of("model.layers.0.mlp.experts.lora_B.weight") == ("model.layers.0.mlp.experts", "lora_B")
    assert owner_of("model.norm.weight") == ("model.norm", "weight")


PARTS = st.lists(st.sampled_from(["model", "text", "tower", "inner"]), max_size=3).map(".".join)
SIZES = st.integers(4, 6)


@given(
    roots=st.lists(
        st.tuples(PARTS, PARTS, SIZES), min_size=1, max_size=3, unique_by=(lambda r: r[0], lambda r: r[1])
    ),
    depth=st.integers(1, 3),
)
def test_whatever_moved_the_renaming_is_one_to_one_and_fits(roots: list[tuple[str, str, int]], depth: int):
    """Laws: a way that is found gives every saved module a live module of its size, and no two the same."""
    saved, live = {}, {}
    for then, present, size in roots:
        for i in range(depth):
            saved |= factors(f"{then}.layers.{i}.fc1".lstrip("."), size, size)
            live[f"{present}.layers.{i}.fc1".lstrip(".")] = linear(size, size)
    found = find_roots(saved, live)
    if found is not None:
        modules = {owner_of(name)[0] for name in saved}
        renamed = {module: rename_module(module, found, live=live) for module in modules}
        assert set(renamed.values()) <= live.keys()
        assert len(set(renamed.values())) == len(modules)
