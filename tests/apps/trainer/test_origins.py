"""Where live parameters come from: found by bytes and names, never believed."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from apps.trainer import freeze
from apps.trainer.origins import Origins, tensor_digest
from kolm.errors import KolmError
from kolm.modules import Origin
from tests.conftest import skip_or_fail

NAME = "language_model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def bnb() -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        skip_or_fail("qlora", "bitsandbytes is not installed: pip install 'kolm[qlora]'")
    import bitsandbytes

    return bitsandbytes


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def origin(folder: Path, tensor: Any, *names: str, digest: str | None = None) -> Origin:
    return Origins(folder).of(names or (NAME,), tensor, digest or tensor_digest(tensor))


def four_bits(bnb: Any, value: torch.Tensor, **options: Any) -> Any:
    return bnb.nn.Params4bit(value.clone(), quant_type="nf4", **options).to("cpu")


def test_a_digest_is_that_of_the_bytes_in_the_file(tmp_path: Path):
    from kolm.tensors import read_tensors

    tensors = {"a": noise(3, 5), "b": noise(4, 2, dtype=torch.bfloat16), "c": torch.tensor(True)}
    save_file(tensors, tmp_path / "m.safetensors")
    held = read_tensors(tmp_path / "m.safetensors")
    assert {name: info.sha256 for name, info in held.items()} == {
        name: tensor_digest(tensor) for name, tensor in tensors.items()
    }
    turned = noise(5, 3).t()
    assert tensor_digest(turned) == tensor_digest(turned.contiguous())


@pytest.mark.parametrize("double", [True, False])
def test_what_bitsandbytes_makes_of_a_tensor_is_quantised_from_it(bnb: Any, tmp_path: Path, double: bool):
    value = noise(64, 128)
    save_file(
        {f"model.{NAME}": value, "model.other.weight": noise(64, 128, seed=1)}, tmp_path / "m.safetensors"
    )
    found = origin(tmp_path, four_bits(bnb, value, compress_statistics=double))
    assert (found.relation, found.key) == ("quantised", f"model.{NAME}")
    rows = bnb.nn.Int8Params(value.clone(), requires_grad=False).to("cpu")
    assert origin(tmp_path, rows).relation == "quantised"


def test_a_tensor_is_quantised_in_the_type_it_was_loaded_in(bnb: Any, tmp_path: Path):
    value = noise(64, 128)
    save_file({f"model.{NAME}": value}, tmp_path / "m.safetensors")
    assert origin(tmp_path, four_bits(bnb, value.bfloat16())).relation == "quantised"
    rows = bnb.nn.Int8Params(value.bfloat16(), requires_grad=False).to("cpu")
    assert origin(tmp_path, rows).relation == "quantised"


def test_quantised_bytes_of_something_else_are_absent(bnb: Any, tmp_path: Path):
    value = noise(64, 128)
    save_file({f"model.{NAME}": value}, tmp_path / "m.safetensors")
    assert origin(tmp_path, four_bits(bnb, -value)).relation == "absent"
    rows = bnb.nn.Int8Params(-value, requires_grad=False).to("cpu")
    assert origin(tmp_path, rows).relation == "absent"


def test_a_tensor_that_is_stored_packed_is_identical(bnb: Any, tmp_path: Path):
    packed = four_bits(bnb, noise(64, 128))
    save_file({f"model.{NAME}": packed.data.clone()}, tmp_path / "m.safetensors")
    assert origin(tmp_path, packed).relation == "identical"


def test_of_equally_likely_names_the_one_with_the_right_bytes_is_found(tmp_path: Path):
    """Towers of the same shape whose keys end alike, as before a model's modules were renamed."""
    tail = NAME.removeprefix("language_model.")
    vision, language = noise(8, 8), noise(8, 8, seed=1)
    for first, second in ((f"a.{tail}", f"b.{tail}"), (f"b.{tail}", f"a.{tail}")):
        save_file({first: vision, second: language}, tmp_path / "m.safetensors")
        found = origin(tmp_path, language.bfloat16())
        assert (found.relation, found.key) == ("cast", second)


def test_joined_layers_are_stacked_from_the_first_of_them(tmp_path: Path):
    q, k, v = noise(16, 8), noise(4, 8, seed=1), noise(4, 8, seed=2)
    save_file({"a.q_proj.weight": q, "a.k_proj.weight": k, "a.v_proj.weight": v}, tmp_path / "m.safetensors")
    found = origin(tmp_path, torch.cat([q, k, v]), "a.qkv_proj.weight")
    assert found == Origin(file="m.safetensors", key="a.q_proj.weight", relation="stacked")
    for other in (torch.cat([q, k, v + 1]), torch.cat([q, k, v])[1:], torch.cat([q, k, v[:3]])):
        assert origin(tmp_path, other, "a.qkv_proj.weight").relation == "absent"


def test_what_was_trained_is_not_said_to_be_stacked(tmp_path: Path):
    """The digest is that before training; the bytes at hand are those after it."""
    q, k = noise(4, 8), noise(4, 8, seed=1)
    save_file({"a.q.weight": q, "a.k.weight": k}, tmp_path / "m.safetensors")
    before = tensor_digest(torch.cat([q, k + 1]))
    assert origin(tmp_path, torch.cat([q, k]), "a.qk.weight", digest=before).relation == "absent"


@given(rows=st.lists(st.integers(1, 5), min_size=2, max_size=6), seed=st.integers(0, 5))
def test_any_tensors_one_after_the_other_are_stacked(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], seed: int
):
    folder = tmp_path_factory.mktemp("stacked")
    parts = [noise(count, 3, seed=seed * 10 + n) for n, count in enumerate(rows)]
    save_file({f"a.{n}.weight": part for n, part in enumerate(parts)}, folder / "m.safetensors")
    found = origin(folder, torch.cat(parts), "a.fused.weight")
    assert (found.relation, found.key) == ("stacked", "a.0.weight")


@pytest.mark.parametrize(
    ("model_type", "settings", "first"),
    [
        ("qwen3_moe", {"num_experts": 4, "moe_intermediate_size": 32, "head_dim": 16}, "gate_proj"),
        ("mixtral", {"num_local_experts": 4, "intermediate_size": 32}, "w1"),
    ],
)
def test_experts_held_as_one_parameter_are_stacked_from_a_checkpoint_that_has_them_apart(
    tmp_path: Path, model_type: str, settings: dict[str, Any], first: str
):
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
    config = AutoConfig.for_model(model_type, num_key_value_heads=2, **sizes, **settings)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    model, origins = AutoModelForCausalLM.from_pretrained(tmp_path), Origins(tmp_path)
    digests = freeze.digests(model)
    found = {
        name: origins.of([name], tensor, digests[name])
        for name, tensor in freeze.live_parameters(model).items()
    }
    experts = {name: o for name, o in found.items() if ".experts." in name}
    assert len(experts) == 4
    assert {o.relation for o in experts.values()} == {"stacked"}
    assert {o.relation for name, o in found.items() if name not in experts} == {"identical"}
    keys = sorted(o.key or "" for o in experts.values())
    assert all(key in load_file(tmp_path / "model.safetensors") for key in keys)
    assert sum(key.endswith(f"experts.0.{first}.weight") for key in keys) == 2  # one for each layer


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"\xff" * 8 + data])
def test_a_damaged_file_is_an_error_of_ours(tmp_path: Path, damage: Callable[[bytes], bytes]):
    path = tmp_path / "m.safetensors"
    save_file({"a": noise(2, 2)}, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(KolmError):
        Origins(tmp_path)
