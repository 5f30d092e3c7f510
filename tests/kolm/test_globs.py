"""Patterns: what they match, and that summaries expand to exactly what they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.globs import expand, matches, summarise


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("visual.merger", "visual.merger.mlp.0.weight", True),
        ("visual.merger", "visual.merger", True),
        ("visual.merger", "visual.merger_list.0.weight", False),
        ("visual.blocks.*", "visual.blocks.11.attn.qkv.weight", True),
        ("layers.*.q_proj.lora_A", "layers.0.self_attn.q_proj.lora_A", True),
        ("layers.*.q_proj.lora_A", "layers..q_proj.lora_A", False),
        ("a.*", "a", False),
        ("a.*", "a.", False),
        ("a+b", "aab", False),
        ("a.b", "axb", False),
    ],
)
def test_a_pattern_covers_a_name_or_a_dotted_prefix_of_it(pattern: str, name: str, expected: bool):
    assert matches(pattern, name) is expected


def test_the_summary_of_a_frozen_tower_names_its_parts():
    frozen = [f"visual.blocks.{i}.attn.{n}.weight" for i in range(12) for n in ("qkv", "proj")]
    frozen += ["visual.merger.ln_q.weight", "visual.merger.mlp.0.weight"]
    frozen += [f"language_model.layers.{i}.self_attn.q_proj.weight" for i in range(3)]
    trainable = [f"language_model.layers.{i}.self_attn.q_proj.lora_{x}" for i in range(3) for x in "AB"]
    q_proj = "language_model.layers.*.self_attn.q_proj"
    assert summarise(frozen, trainable) == (
        ["visual.blocks.*", "visual.merger", f"{q_proj}.weight"],
        [f"{q_proj}.lora_A", f"{q_proj}.lora_B"],
    )


def test_a_block_that_differs_keeps_its_number():
    frozen, trainable = summarise(["t.blocks.0.w", "t.blocks.1.w"], ["t.blocks.2.w"])
    assert frozen == ["t.blocks.0", "t.blocks.1"]
    assert trainable == ["t.blocks.2"]


_component = st.sampled_from(["visual", "merger", "layers", "0", "1", "10", "q_proj", "w"])
_leaf = st.sampled_from(["weight", "bias", "lora_A", "lora_B"])
_names = st.lists(
    st.tuples(st.lists(_component, min_size=1, max_size=4), _leaf).map(lambda t: ".".join([*t[0], t[1]])),
    unique=True,
    max_size=40,
)


@given(names=_names, data=st.data())
def test_summaries_expand_to_exactly_the_two_lists(names: list[str], data: st.DataObject):
    chosen = data.draw(st.sets(st.sampled_from(names)) if names else st.just(set()))
    frozen = [name for name in names if name not in chosen]
    trainable = [name for name in names if name in chosen]
    left, right = summarise(frozen, trainable)
    assert expand(left, names) == frozen
    assert expand(right, names) == trainable
