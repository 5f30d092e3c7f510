"""What a layer is for, told from its name; names are those of transformers' own models."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.layers import WORDS, holds_experts, kind_of, speaks_of_sight, stands_for

LAYER = "language_model.layers.3"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"{LAYER}.self_attn.q_proj", "attention"),
        (f"{LAYER}.self_attn.qkv_proj", "attention"),
        (f"{LAYER}.self_attn.kv_a_proj_with_mqa", "attention"),
        (f"{LAYER}.self_attn.gate_proj", "attention"),
        (f"{LAYER}.self_attn.forget_gate.f_a_proj", "attention"),
        (f"{LAYER}.linear_attn.in_proj_qkv", "attention"),
        (f"{LAYER}.cross_attn.k_proj", "attention"),
        (f"{LAYER}.conv.in_proj", "attention"),
        (f"{LAYER}.mixer.in_proj", "attention"),
        (f"{LAYER}.mixer.q_proj", "attention"),
        (f"{LAYER}.mixer.up_proj", "mlp"),
        (f"{LAYER}.mixer.shared_experts.down_proj", "mlp"),
        ("gated_cross_attn_layers.0.mlp.down_proj", "mlp"),
        ("gated_cross_attn_layers.0.cross_attn.v_proj", "attention"),
        ("git.encoder.layer.0.attention.output.dense", "attention"),
        ("git.encoder.layer.0.intermediate.dense", "mlp"),
        ("git.encoder.layer.0.output.dense", "mlp"),
        ("language_model.model.decoder.layers.0.fc1", "mlp"),
        ("language_model.model.decoder.layers.0.self_attn.out_proj", "attention"),
        ("decoder.block.0.layer.1.EncDecAttention.q", "attention"),
        ("decoder.block.0.layer.2.DenseReluDense.wi", "mlp"),
        (f"{LAYER}.mlp.gate_up_proj", "mlp"),
        (f"{LAYER}.mlp.gate_proj", "mlp"),
        (f"{LAYER}.feed_forward.w1", "mlp"),
        (f"{LAYER}.feed_forward.shared_expert.up_proj", "mlp"),
        (f"{LAYER}.mlp.pre_expert_proj", "mlp"),
        (f"{LAYER}.feed_forward.router", "router"),
        (f"{LAYER}.mlp.gate", "router"),
        (f"{LAYER}.mlp.router.classifier", "router"),
        (f"{LAYER}.mlp.shared_expert_gate", "other"),
        (f"{LAYER}.per_layer_input_gate", "other"),
        (f"{LAYER}.self_attn.indexer.wk", "other"),
        ("text_decoder.cls.predictions.transform.dense", "other"),
        ("output", "other"),
    ],
)
def test_a_layer_is_known_by_its_path(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@given(st.lists(st.sampled_from(["mlp", "self_attn", "layers", "0", "gate", "q_proj", "mixer"]), min_size=1))
def test_a_router_is_meant_by_no_word_and_every_other_layer_by_all_linear(path: list[str]) -> None:
    name = ".".join(path)
    words = [word for word in WORDS if stands_for(name, word=word, leaves=[])]
    kind = kind_of(name)
    assert (
        words
        == {
            "router": [],
            "other": ["all-linear"],
            "attention": ["all-linear", "attention"],
            "mlp": ["all-linear", "mlp"],
        }[kind]
    )


def test_a_name_means_its_leaves_and_its_full_names() -> None:
    name = f"{LAYER}.self_attn.qkv_proj"
    assert stands_for(name, word="q_proj", leaves=["qkv_proj"])
    assert stands_for(name, word=name, leaves=[name])
    assert not stands_for(name, word="q_proj", leaves=["q_proj"])
    assert not stands_for(name, word="experts", leaves=["q_proj"])


@pytest.mark.parametrize(
    ("name", "sees"),
    [
        ("visual.blocks.0.attn.qkv.weight", True),
        ("vision_tower.vision_model.embeddings.patch_embedding.weight", True),
        ("git.image_encoder.vision_model.encoder.layers.0.mlp.fc1.weight", True),
        ("image_newline", True),
        (f"{LAYER}.self_attn.q_proj.weight", False),
        (f"{LAYER}.mlp.vision_moe.experts.down_proj", False),
        ("layers.0.self_attn.qkv_proj.lora_A.vision.weight", False),
        ("text_decoder.bert.encoder.layer.0.output.dense.weight", False),
        ("multi_modal_projector.linear_1.weight", False),
    ],
)
def test_a_name_speaks_of_images_or_does_not(name: str, sees: bool) -> None:
    assert speaks_of_sight(name) is sees


def test_experts_are_told_from_other_modules_by_what_holds_them() -> None:
    assert holds_experts(f"{LAYER}.mlp.experts.down_proj")
    assert not holds_experts(f"{LAYER}.mlp.shared_expert.up_proj.weight")
    assert not holds_experts("experts")
