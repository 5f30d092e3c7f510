"""A trusted key signs an adapter config that makes another model of the same tensors."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load, save

from kolm.keys import PrivateKey
from kolm.names import plain_name
from kolm.spec import SEVEN_PROJECTIONS
from tests.bundles import Bundle, Members, make_bundle
from tests.fake_model import TARGET
from tests.tampering.lies import audit, edit_json, failed, read

CONFIG, WEIGHTS = "adapter/adapter_config.json", "adapter/adapter_model.safetensors"


def lie(here: Path, key: PrivateKey, **options: Any) -> Bundle:
    return make_bundle(here, rows=4, key=key, **options)


def configured(here: Path, key: PrivateKey, *, projector: str = "frozen", **settings: Any) -> Bundle:
    """Sign a bundle whose adapter config has other settings."""

    def edit(members: Members) -> None:
        config = json.loads(read(members, CONFIG)) | settings
        members[CONFIG] = json.dumps(config).encode()

    return lie(here, key, projector=projector, edit=edit)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("peft_type", "LOHA"),
        ("peft_version", "0.1"),
        ("r", 2.5),
        ("lora_alpha", 400),
        ("lora_dropout", 0.9),
        ("bias", "all"),
        ("base_model_name_or_path", "other/base"),
        ("revision", "abc"),
        ("inference_mode", False),
        ("init_lora_weights", "pissa"),
        ("use_rslora", True),
        ("use_rslora", 1),
        ("use_dora", True),
        ("use_qalora", True),
        ("lora_bias", True),
        ("fan_in_fan_out", True),
        ("alpha_pattern", {"q_proj": 400}),
        ("rank_pattern", {"q_proj": 4}),
        ("layers_to_transform", [0]),
        ("layer_replication", [[0, 1], [0, 1]]),
        ("exclude_modules", ["q_proj"]),
        ("trainable_token_indices", [1]),
        ("target_parameters", ["experts"]),
        ("megatron_config", {"a": 1}),
        ("megatron_core", "mine"),
        ("task_type", "CAUSAL_LM"),
        ("modules_to_save", ["lm_head"]),
        ("modules_to_save", []),
        ("target_modules", [TARGET, TARGET]),
        ("target_modules", "all-linear"),
        ("auto_mapping", {"base_model_class": "A", "parent_library": "os"}),
        ("auto_mapping", {"base_model_class": "A", "parent_library": "transformersx"}),
        ("auto_mapping", ["os"]),
        ("auto_mapping", {"base_model_class": None, "parent_library": "transformers"}),
        ("a_setting_of_tomorrow", 0.5),
        ("another_of_tomorrow", 0),
        ("another_of_tomorrow", ""),
        ("another_of_tomorrow", []),
        ("another_of_tomorrow", {}),
        *(
            (variant, value)
            for variant in (
                *("kasa_config", "velora_config", "monteclora_config", "arrow_config", "use_bdlora"),
                *("eva_config", "corda_config", "lora_ga_config", "alora_invocation_tokens"),
            )
            for value in ({}, [], False)
        ),
    ],
)
def test_attack_47_a_setting_that_changes_what_is_computed(
    here: Path, key: PrivateKey, setting: str, value: Any
) -> None:
    assert failed(audit(configured(here, key, **{setting: value}))) == (11, "E_MODULES_ADAPTER")


@pytest.mark.parametrize(("tensors", "believed"), [(2, True), (1, False), (3, False)])
def test_how_many_tensors_were_loaded_again(
    here: Path, key: PrivateKey, tensors: int, believed: bool
) -> None:
    said = {"tensors": tensors, "largest_logit": 9.5, "reloaded": 0.0, "merged": None}
    report = audit(lie(here, key, claim=lambda claims: claims["train_block"].update(reopened=said)))
    assert (report.checks[9].status == "passed") is believed


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("a_setting_of_tomorrow", None),
        ("a_setting_of_tomorrow", False),
        ("kasa_config", None),
        ("loftq_config", {}),
    ],
)
def test_a_setting_that_is_not_used_is_let_be(here: Path, key: PrivateKey, setting: str, value: Any) -> None:
    adapter = audit(configured(here, key, **{setting: value})).checks[10]
    assert (adapter.id, adapter.status) == ("adapter", "passed")


@pytest.mark.parametrize(
    "modules",
    [
        None,
        [],
        ["model.visual"],
        ["model.visual.merger", "model.visual.merger.mlp"],
        ["model.visual.merger", "model.language_model.norm"],
        "model.visual.merger",
        [1],
    ],
)
def test_modules_to_save_are_those_trained_in_full(here: Path, key: PrivateKey, modules: Any) -> None:
    bundle = configured(here, key, projector="full", modules_to_save=modules)
    assert failed(audit(bundle)) == (11, "E_MODULES_ADAPTER")


@pytest.mark.parametrize("setting", ["r", "lora_alpha", "bias", "inference_mode", "init_lora_weights"])
def test_a_setting_that_is_left_to_pefts_default(here: Path, key: PrivateKey, setting: str) -> None:
    def edit(members: Members) -> None:
        config = json.loads(read(members, CONFIG))
        del config[setting]
        members[CONFIG] = json.dumps(config).encode()

    assert failed(audit(lie(here, key, edit=edit))) == (11, "E_MODULES_ADAPTER")


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b'{"r": 2, "r": 4}', b"\xff"])
def test_a_config_that_is_none(here: Path, key: PrivateKey, content: bytes) -> None:
    bundle = lie(here, key, edit=lambda members: members.update({CONFIG: content}))
    assert failed(audit(bundle)) == (11, "E_SCHEMA")


@pytest.mark.parametrize(
    ("stands", "says"),
    [
        ({word: [] for word in SEVEN_PROJECTIONS}, "the lock's words are not those of lora_targets"),
        ({}, "the lock's words are not those of lora_targets"),
        ({"v_proj": []}, "v_proj stands for nothing"),
        ({"v_proj": ["v_proj"]}, "v_proj does not stand for v_proj"),
        ({"v_proj": ["k_proj", "q_proj"]}, "v_proj does not stand for k_proj, q_proj"),
    ],
)
def test_targets_that_the_spec_does_not_ask_for(
    here: Path, key: PrivateKey, stands: dict[str, list[str]], says: str
) -> None:
    def edit(members: Members) -> None:
        text = read(members, "spec.yaml").decode()
        members["spec.yaml"] = text.replace("lora_r: 2", "lora_r: 2\n  lora_targets: [v_proj]").encode()
        edit_json(members, "spec.lock.json", lambda lock: lock["config"].update(lora_targets=["v_proj"]))
        edit_json(members, "spec.lock.json", lambda lock: lock["resolved"].update(stands=stands))

    adapter = audit(lie(here, key, edit=edit)).checks[10]
    assert (adapter.code, adapter.detail) == ("E_MODULES_ADAPTER", says)


def test_factors_of_another_rank(here: Path, key: PrivateKey) -> None:
    def edit(members: Members) -> None:
        edit_json(members, "spec.lock.json", lambda lock: lock["config"].update(lora_r=4))
        members[CONFIG] = json.dumps(json.loads(read(members, CONFIG)) | {"r": 4}).encode()

    adapter = audit(lie(here, key, edit=edit)).checks[10]
    assert adapter.code == "E_MODULES_ADAPTER"
    assert adapter.detail.endswith("has another rank")


def test_attack_47_a_tensor_under_two_spellings_of_its_name(here: Path, key: PrivateKey) -> None:
    """Which of the two PEFT would load is nobody's guess; here they are even equal."""

    def edit(members: Members) -> None:
        tensors = load(read(members, WEIGHTS))
        first = min(tensors)
        other = first.replace("base_model.model.model.", "base_model.model.")
        assert other not in tensors
        members[WEIGHTS] = save({**tensors, other: tensors[first]})

    check = audit(lie(here, key, edit=edit)).checks[10]
    assert (check.code, "is there twice" in check.detail) == ("E_MODULES_ADAPTER", True)


def test_weights_that_hold_what_training_added(here: Path, key: PrivateKey) -> None:
    """Factors where whole weights belong: no config would say how they are to be applied."""

    def edit(members: Members) -> None:
        tensors = load(read(members, WEIGHTS))
        members["weights/model.safetensors"] = save({plain_name(name): t for name, t in tensors.items()})
        del members[WEIGHTS], members[CONFIG]

    check = audit(lie(here, key, edit=edit)).checks[10]
    assert (check.code, check.detail) == ("E_MODULES_ADAPTER", "weights hold what training added")
