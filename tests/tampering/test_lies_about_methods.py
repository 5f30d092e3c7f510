"""A trusted key signs a method, factors or weights that its own artifact shows to be others."""

import json
from pathlib import Path
from typing import Any

import pytest

from kolm.artifact import WEIGHTS
from kolm.cid import sha256_hex
from kolm.errors import ArtifactError
from kolm.keys import PrivateKey
from tests.bundles import Bundle, Members, make_bundle
from tests.fake_model import TARGET, adapter_config, adapter_tensors, numbers, safetensors
from tests.tampering.lies import audit, edit_json, failed, read

CONFIG = "adapter/adapter_config.json"
ADAPTER = "adapter/adapter_model.safetensors"
LOCK = "spec.lock.json"


def lie(here: Path, key: PrivateKey, **options: Any) -> Bundle:
    return make_bundle(here, rows=4, key=key, **options)


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
@pytest.mark.parametrize("projector", ["frozen", "full"])
def test_honest_bundles_of_every_layout_are_accepted(
    here: Path, key: PrivateKey, method: str, projector: str
) -> None:
    report = audit(lie(here, key, method=method, projector=projector))
    assert report.failure is None


# Flags


@pytest.mark.parametrize(
    ("method", "setting", "value"),
    [
        ("dora", "use_dora", False),
        ("dora", "use_dora", None),
        ("lora", "use_dora", True),
        ("lora", "use_rslora", True),
        ("dora", "use_rslora", True),
    ],
)
def test_a_flag_that_makes_another_method_of_the_same_tensors(
    here: Path, key: PrivateKey, method: str, setting: str, value: Any
) -> None:
    def edit(members: Members) -> None:
        members[CONFIG] = json.dumps(json.loads(read(members, CONFIG)) | {setting: value}).encode()

    assert failed(audit(lie(here, key, method=method, edit=edit))) == (11, "E_MODULES_ADAPTER")


def test_a_flag_that_is_left_out(here: Path, key: PrivateKey) -> None:
    def edit(members: Members) -> None:
        config = json.loads(read(members, CONFIG))
        del config["use_dora"]
        members[CONFIG] = json.dumps(config).encode()

    assert failed(audit(lie(here, key, method="dora", edit=edit))) == (11, "E_MODULES_ADAPTER")


def without_the_magnitude(parameters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [p for p in parameters if "magnitude" not in p["name"]]


def test_dora_without_its_magnitudes(here: Path, key: PrivateKey) -> None:
    def edit(members: Members) -> None:
        members[ADAPTER] = safetensors(adapter_tensors(0, projector="frozen"))
        edit_json(
            members, "modules.json", lambda m: m.update(parameters=without_the_magnitude(m["parameters"]))
        )

    adapter = audit(lie(here, key, method="dora", edit=edit)).checks[10]
    assert (adapter.code, adapter.detail) == (
        "E_MODULES_ADAPTER",
        "LoRA factors are not on the locked modules",
    )


# How it can be served


@pytest.mark.parametrize("method", ["dora", "full"])
@pytest.mark.parametrize("claimed", ["lora", "lora+connector"])
def test_what_has_to_be_merged_is_not_an_adapter(
    here: Path, key: PrivateKey, method: str, claimed: str
) -> None:
    def edit(members: Members) -> None:
        edit_json(members, LOCK, lambda lock: lock["resolved"].update(servable_as=claimed))

    assert failed(audit(lie(here, key, method=method, edit=edit))) == (10, "E_MODULES_MISMATCH")


def test_an_adapter_is_not_called_something_else(here: Path, key: PrivateKey) -> None:
    bundle = lie(here, key, claim=lambda claims: claims["train_block"].update(servable_as="lora+connector"))
    assert failed(audit(bundle)) == (10, "E_MODULES_MISMATCH")


def test_parameters_that_were_not_left_frozen(here: Path, key: PrivateKey) -> None:
    said = {"left_frozen": ["visual.merger.mlp.0.weight"]}
    bundle = lie(here, key, projector="full", claim=lambda claims: claims["train_block"].update(said))
    report = audit(bundle)
    assert failed(report) == (10, "E_MODULES_MISMATCH")
    assert report.checks[9].detail == "other parameters of a trained part were left frozen"


# Weights


def one_too_many(tensors: dict[str, Any]) -> None:
    tensors["visual.patch_embed.proj.weight"] = numbers("more", 4, 3)


def another(tensors: dict[str, Any]) -> None:
    tensors["visual.merger.mlp.0.weight"] = numbers("another", 2, 4)


def misshapen(tensors: dict[str, Any]) -> None:
    tensors["visual.merger.mlp.0.weight"] = numbers("merger0", 4, 2)


def by_pefts_name(tensors: dict[str, Any]) -> None:
    tensors["base_model.model.model.visual.merger.mlp.0.weight"] = tensors.pop("visual.merger.mlp.0.weight")


@pytest.mark.parametrize("change", [one_too_many, another, misshapen, by_pefts_name, dict.clear])
def test_weights_that_are_not_what_was_trained(here: Path, key: PrivateKey, change: Any) -> None:
    def edit(members: Members) -> None:
        tensors = adapter_tensors(0, projector="full", method="full")
        change(tensors)
        members[WEIGHTS] = safetensors(tensors)

    assert failed(audit(lie(here, key, method="full", edit=edit))) == (11, "E_MODULES_ADAPTER")


def test_weights_beside_an_adapter(here: Path, key: PrivateKey) -> None:
    def edit(members: Members) -> None:
        members[WEIGHTS] = safetensors(adapter_tensors(0, projector="full", method="full"))

    assert failed(audit(lie(here, key, projector="full", edit=edit))) == (2, "E_MEMBER_UNLISTED")


def test_weights_in_place_of_an_adapter(here: Path, key: PrivateKey) -> None:
    def edit(members: Members) -> None:
        del members[CONFIG], members[ADAPTER]
        members[WEIGHTS] = safetensors(adapter_tensors(0, projector="full", method="full"))

    assert failed(audit(lie(here, key, projector="full", edit=edit))) == (11, "E_MODULES_ADAPTER")


def test_an_adapter_in_place_of_weights(here: Path, key: PrivateKey) -> None:
    def edit(members: Members) -> None:
        tensors = adapter_tensors(0, projector="full")
        merger = "base_model.model.model.visual.merger.mlp.0.weight"
        del members[WEIGHTS]
        members[CONFIG] = adapter_config(projector="full")
        members[ADAPTER] = safetensors({merger: tensors[merger]})

    assert failed(audit(lie(here, key, method="full", edit=edit))) == (11, "E_MODULES_ADAPTER")


def test_half_an_adapter(here: Path, key: PrivateKey) -> None:
    with pytest.raises(ArtifactError, match=r"lacks adapter/adapter_config\.json"):
        lie(here, key, edit=lambda members: members.pop(CONFIG))


# Layers and words


def forging(name: str, shape: list[int], digest: str) -> Any:
    def change(modules: dict[str, Any]) -> None:
        parameter = next(p for p in modules["parameters"] if p["name"] == name)
        parameter.update(shape=shape, after=digest)

    return change


@pytest.mark.parametrize(
    ("factor", "shape", "says"),
    [
        ("lora_A", (2, 3), "does not fit its layer"),
        ("lora_B", (3, 2), "does not fit its layer"),
        ("lora_A", (3, 2), "has another rank"),
        ("lora_B", (2, 3), "has another rank"),
        ("lora_A", (4,), "has another rank"),
        ("lora_magnitude_vector", (3,), "does not fit its layer"),
    ],
)
def test_factors_that_fit_no_layer_of_the_base(
    here: Path, key: PrivateKey, factor: str, shape: tuple[int, ...], says: str
) -> None:
    name = f"{TARGET.removeprefix('model.')}.{factor}"
    forged = numbers("forged", *shape)

    def edit(members: Members) -> None:
        tensors = adapter_tensors(0, projector="frozen", method="dora")
        suffix = "" if factor == "lora_magnitude_vector" else ".weight"
        tensors[f"base_model.model.{TARGET}.{factor}{suffix}"] = forged
        members[ADAPTER] = safetensors(tensors)
        edit_json(members, "modules.json", forging(name, list(shape), sha256_hex(forged[1])))

    adapter = audit(lie(here, key, method="dora", edit=edit)).checks[10]
    assert (adapter.code, adapter.detail) == ("E_MODULES_ADAPTER", f"{name} {says}")


@pytest.mark.parametrize(
    ("dtype", "shape", "says"),
    [("int8", [3, 3], "lora_A does not fit its layer"), ("int8", [2, 2], None), ("uint8", [2, 1], None)],
)
def test_factors_are_compared_with_weights_of_8_bits_and_not_with_packed_ones(
    here: Path, key: PrivateKey, dtype: str, shape: list[int], says: str | None
) -> None:
    def quantise(modules: dict[str, Any]) -> None:
        name = f"{TARGET.removeprefix('model.')}.weight"
        next(p for p in modules["parameters"] if p["name"] == name).update(dtype=dtype, shape=shape)

    bundle = lie(here, key, edit=lambda members: edit_json(members, "modules.json", quantise))
    adapter = audit(bundle).checks[10]
    wanted = f"{TARGET.removeprefix('model.')}.{says}" if says else None
    assert adapter.detail == wanted or (wanted is None and adapter.status == "passed")


@pytest.mark.parametrize(
    ("words", "stands", "says"),
    [
        (["attention"], {"attention": ["q_proj"]}, None),
        (["all-linear"], {"all-linear": ["q_proj"]}, None),
        (["mlp"], {"mlp": ["q_proj"]}, "mlp does not stand for q_proj"),
        (["experts"], {"experts": ["q_proj"]}, "experts does not stand for q_proj"),
        (["attention"], {"attention": []}, "attention stands for nothing"),
        (["attention"], {"attention": ["k_proj", "q_proj"]}, "attention does not stand for k_proj, q_proj"),
        (["qkv"], {"qkv": ["q_proj"]}, "qkv is no name for q_proj"),
        (["k_proj"], {"k_proj": ["q_proj"]}, "k_proj is no name for q_proj"),
        (
            ["language_model.layers.0.self_attn.q_proj"],
            {"language_model.layers.0.self_attn.q_proj": ["language_model.layers.0.self_attn.q_proj"]},
            None,
        ),
    ],
)
def test_words_stand_for_the_layers_that_were_adapted(
    here: Path, key: PrivateKey, words: list[str], stands: dict[str, list[str]], says: str | None
) -> None:
    def edit(members: Members) -> None:
        asked = json.dumps(words)
        text = read(members, "spec.yaml").decode()
        members["spec.yaml"] = text.replace("lora_r: 2", f"lora_r: 2\n  lora_targets: {asked}").encode()
        edit_json(members, LOCK, lambda lock: lock["config"].update(lora_targets=words))
        edit_json(members, LOCK, lambda lock: lock["resolved"].update(stands=stands))

    adapter = audit(lie(here, key, edit=edit)).checks[10]
    assert adapter.detail == says or (says is None and adapter.status == "passed")


def test_experts_that_the_adapter_does_not_touch(here: Path, key: PrivateKey) -> None:
    named = ["model.language_model.layers.0.mlp.experts.down_proj"]
    bundle = lie(
        here, key, edit=lambda m: edit_json(m, LOCK, lambda lock: lock.update(target_parameters=named))
    )
    assert audit(bundle).checks[10].code == "E_MODULES_ADAPTER"
