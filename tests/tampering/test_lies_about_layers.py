"""A trusted key signs that its layers are others: of another part, of another name, or not of the base."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kolm.cid import sha256_hex
from kolm.keys import PrivateKey
from kolm.verify.report import Check
from tests.bundles import Bundle, Members, make_bundle
from tests.fake_model import TARGET, adapter_tensors, numbers, safetensors
from tests.tampering.lies import audit, edit_json, read

LAYER = "language_model.layers.0.self_attn"
ABSENT = {"file": None, "key": None, "relation": "absent"}
LOCK, MODULES = "spec.lock.json", "modules.json"
CONFIG, ADAPTER = "adapter/adapter_config.json", "adapter/adapter_model.safetensors"


def lie(here: Path, key: PrivateKey, edit: Callable[[Members], None]) -> Bundle:
    return make_bundle(here, rows=4, key=key, edit=edit)


def check(bundle: Bundle, number: int) -> Check:
    return audit(bundle).checks[number - 1]


def frozen(name: str, *shape: int) -> dict[str, Any]:
    """Return a parameter of the language tower that nobody trained."""
    parameter = {"name": name, "shape": [*shape], "dtype": "float32", "part": "language", "state": "frozen"}
    return parameter | {"before": "ab" * 32, "after": "ab" * 32, "base": ABSENT, "gradient": None}


@pytest.mark.parametrize(
    ("part", "believed"), [("language", False), ("projector", True)], ids=["language", "projector"]
)
def test_a_vision_tower_that_is_called_a_language_tower(
    here: Path, key: PrivateKey, part: str, believed: bool
) -> None:
    """What it is otherwise called is the signer's word: which module is the projector, no name says."""

    def relabel(modules: dict[str, Any]) -> None:
        tower = next(p for p in modules["parameters"] if p["name"] == "visual.blocks.0.attn.qkv.weight")
        tower["part"] = part

    found = check(lie(here, key, lambda members: edit_json(members, MODULES, relabel)), 10)
    assert (found.status == "passed") is believed
    if not believed:
        named = "visual.blocks.0.attn.qkv.weight is in the language tower, and is named otherwise"
        assert (found.code, found.detail) == ("E_MODULES_MISMATCH", named)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([frozen(f"{LAYER}.k_proj.weight", 2, 2)], "k_proj stands for ['{k}'], which has no factors"),
        (
            [
                frozen(f"{LAYER}.k_proj.weight", 2, 2),
                frozen("language_model.layers.0.mlp.experts.down_proj", 3, 2, 2),
            ],
            None,
        ),
        ([frozen(f"{LAYER}.kv_proj.weight", 2, 2)], None),
    ],
    ids=["passed-over", "mixture", "another-name"],
)
def test_a_usual_layer_that_is_there_and_was_passed_over(
    here: Path, key: PrivateKey, more: list[dict[str, Any]], says: str | None
) -> None:
    def add(modules: dict[str, Any]) -> None:
        modules["parameters"] += more
        modules["frozen_modules"] += [parameter["name"] for parameter in more]

    adapter = check(lie(here, key, lambda members: edit_json(members, MODULES, add)), 11)
    wanted = says.format(k=f"{LAYER}.k_proj") if says else None
    assert adapter.detail == wanted or (wanted is None and adapter.status == "passed")


def adapted(members: Members, layer: str, *, more: Sequence[dict[str, Any]] = ()) -> None:
    """Add factors for a layer: tensors, manifest, lock and PEFT's config agree about it."""
    factors = {f"{layer}.lora_{side}": numbers(f"ghost{side}", 2, 2) for side in "AB"}

    def name_them(modules: dict[str, Any]) -> None:
        like = next(p for p in modules["parameters"] if p["name"].endswith(".lora_A"))
        modules["parameters"] += more
        modules["frozen_modules"] += [parameter["name"] for parameter in more]
        for name, (_, data) in factors.items():
            modules["parameters"].append(like | {"name": name, "after": sha256_hex(data)})
            modules["trainable_modules"].append(name)

    saved = {f"base_model.model.model.{name}.weight": tensor for name, tensor in factors.items()}
    members[ADAPTER] = safetensors(adapter_tensors(0, projector="frozen") | saved)
    edit_json(members, MODULES, name_them)
    edit_json(members, LOCK, lambda lock: lock.update(targets=sorted([*lock["targets"], f"model.{layer}"])))
    config = json.loads(read(members, CONFIG))
    config["target_modules"] = sorted([*config["target_modules"], f"model.{layer}"])
    members[CONFIG] = json.dumps(config).encode()


def test_factors_of_a_layer_that_the_base_does_not_have(here: Path, key: PrivateKey) -> None:
    ghost = "language_model.layers.9.self_attn.q_proj"
    adapter = check(lie(here, key, lambda members: adapted(members, ghost)), 11)
    said = f"{ghost}.lora_A adapts nothing that the base has"
    assert (adapter.code, adapter.detail) == ("E_MODULES_ADAPTER", said)


def test_factors_of_a_layer_that_no_word_of_the_spec_means(here: Path, key: PrivateKey) -> None:
    layer = "language_model.layers.0.mlp.fc1"
    more = [frozen(f"{layer}.weight", 2, 2)]
    adapter = check(lie(here, key, lambda members: adapted(members, layer, more=more)), 11)
    said = f"{layer} is not among the spec's lora_targets"
    assert (adapter.code, adapter.detail) == ("E_MODULES_ADAPTER", said)


def test_a_factor_that_is_called_part_of_another_tower_than_its_layer(here: Path, key: PrivateKey) -> None:
    def relabel(modules: dict[str, Any]) -> None:
        factor = next(p for p in modules["parameters"] if p["name"].endswith(".lora_B"))
        factor["part"] = "projector"

    adapter = check(lie(here, key, lambda members: edit_json(members, MODULES, relabel)), 11)
    said = f"{LAYER}.q_proj.lora_B is in another part than what it adapts"
    assert (adapter.code, adapter.detail) == ("E_MODULES_ADAPTER", said)


def test_a_target_that_the_lock_names_twice(here: Path, key: PrivateKey) -> None:
    adapter = check(
        lie(here, key, lambda members: edit_json(members, LOCK, lambda lock: lock["targets"].append(TARGET))),
        11,
    )
    said = "the lock's targets are not sorted, each once"
    assert (adapter.code, adapter.detail) == ("E_MODULES_ADAPTER", said)


def test_factors_of_a_parameter_that_is_no_expert(here: Path, key: PrivateKey) -> None:
    """It has three dimensions as experts have, and the lock calls it one of them."""
    conv = "language_model.layers.0.conv"
    factors = {f"{conv}.lora_{side}": numbers(f"conv{side}", 4, 4) for side in "AB"}

    def edit(members: Members) -> None:
        saved = {f"base_model.model.model.{name}.weight": tensor for name, tensor in factors.items()}
        members[ADAPTER] = safetensors(adapter_tensors(0, projector="frozen") | saved)
        edit_json(members, MODULES, name_them)
        edit_json(members, LOCK, lambda lock: lock.update(target_parameters=[f"model.{conv}.kernel"]))
        config = json.loads(read(members, CONFIG)) | {"target_parameters": [f"model.{conv}.kernel"]}
        members[CONFIG] = json.dumps(config).encode()

    def name_them(modules: dict[str, Any]) -> None:
        modules["parameters"].append(frozen(f"{conv}.kernel", 2, 4, 4))
        modules["frozen_modules"].append(f"{conv}.kernel")
        like = next(p for p in modules["parameters"] if p["name"].endswith(".lora_A"))
        for name, (shape, data) in factors.items():
            added = {"name": f"{name}.kernel", "shape": [*shape], "after": sha256_hex(data)}
            modules["parameters"].append(like | added)
            modules["trainable_modules"].append(f"{name}.kernel")

    adapter = check(lie(here, key, edit), 11)
    assert (adapter.code, adapter.detail) == (
        "E_MODULES_ADAPTER",
        f"{conv}.kernel: no experts of the language tower",
    )
