"""Check 11, second half: PEFT's own config says of the adapter what the lock says, and nothing more.

Loading the folder `adapter/` obeys this file, not the receipt: a scale per layer, another way to
initialise or one more wrapped module would make another model of the same tensors.
"""

import json
import re
from typing import Any

from kolm.artifact import LOCK_BYTES, Artifact
from kolm.canonical import canonical_json, unique_names
from kolm.errors import ArtifactError
from kolm.names import plain_name
from kolm.verify.case import require

NAME = "adapter/adapter_config.json"

_NEUTRAL: tuple[Any, ...] = (None, False)
"""Values by which a setting that no rule names says that it is not used. An empty object is none of them: of
`"kasa_config": {}` PEFT makes the defaults of a variant, and cuts the base's frozen weights down."""

_OFF: dict[str, Any] = {
    "alpha_pattern": {},
    "loftq_config": {},
    "rank_pattern": {},
    **dict.fromkeys(("ensure_weight_tying", "fan_in_fan_out", "lora_bias", "use_qalora"), False),
    **dict.fromkeys(
        (
            *("alora_invocation_tokens", "arrow_config", "corda_config", "eva_config", "exclude_modules"),
            *("kasa_config", "layer_replication", "layers_pattern", "layers_to_transform", "lora_ga_config"),
            *("megatron_config", "monteclora_config", "task_type", "trainable_token_indices", "use_bdlora"),
            "velora_config",
        )
    ),
}
"""Settings that change what is computed, each with the only value it may have."""

_INERT: dict[str, Any] = {"megatron_core": "megatron.core", "qalora_group_size": 16}
"""Defaults that PEFT writes and nobody reads while what they belong to is off."""

_LIBRARY = re.compile(r"transformers(\.[a-z0-9_]+)*", re.ASCII)
"""What `auto_mapping` may import when PEFT is asked to find the base by itself."""


def check_config(artifact: Artifact) -> None:
    """Check the config against the lock (specs/formats/artifact.md 6).

    Raises ArtifactError (E_SCHEMA, E_LIMIT), VerificationError (E_MODULES_ADAPTER).
    """
    config = _read(artifact)
    variants = _variants(artifact)
    asked = _asked(artifact) | {key: value for key, value in variants.items() if value}
    for key, value in asked.items():
        _fits(key in config and _is(config[key], value), f"{key} is not what was compiled")
    _check_saved(artifact, config.get("modules_to_save"))
    _check_mapping(config.get("auto_mapping"))
    allowed = _OFF | _INERT | variants
    for key in config.keys() - asked.keys() - {"modules_to_save", "auto_mapping"}:
        values = (allowed[key],) if key in allowed else _NEUTRAL
        _fits(any(_is(config[key], value) for value in values), f"{key} has a value of its own")


def _read(artifact: Artifact) -> dict[str, Any]:
    data = artifact.container.read(NAME, max_bytes=LOCK_BYTES)
    try:
        config = json.loads(data, object_pairs_hook=unique_names)
    except (ValueError, RecursionError) as err:
        raise ArtifactError(f"{NAME} is not JSON", check="E_SCHEMA") from err
    if not isinstance(config, dict):
        raise ArtifactError(f"{NAME} is not a PEFT config", check="E_SCHEMA")
    return config


def _asked(artifact: Artifact) -> dict[str, Any]:
    """Return what must stand in the config: the lock's settings in PEFT's words."""
    lock = artifact.lock
    return {
        "peft_type": "LORA",
        "peft_version": lock.versions.get("peft"),
        "base_model_name_or_path": lock.base.model,
        "revision": lock.base.revision,
        "r": lock.config.get("lora_r"),
        "lora_alpha": lock.config.get("lora_alpha"),
        "lora_dropout": lock.config.get("lora_dropout"),
        "bias": lock.config.get("bias"),
        "target_modules": lock.targets,
        "inference_mode": True,
        "init_lora_weights": True,
    }


def _variants(artifact: Artifact) -> dict[str, Any]:
    """Return the settings by which PEFT's variants of LoRA are chosen; those that are off may be absent."""
    lock = artifact.lock
    return {
        "target_parameters": lock.target_parameters or None,
        "use_dora": lock.config.get("method") == "dora",
        "use_rslora": lock.config.get("method") == "rslora",
    }


def _check_saved(artifact: Artifact, modules: Any) -> None:
    """`modules_to_save` names exactly the modules that were trained in full, each with all it holds."""
    full = {p.name for p in artifact.modules.parameters if p.state == "trainable" and p.before is not None}
    if not full:
        _fits(modules is None, "modules_to_save names modules that were not trained")
        return
    named = isinstance(modules, list) and all(isinstance(module, str) for module in modules)
    roots = [plain_name(module) for module in modules] if named else []
    below = [{p.name for p in artifact.modules.parameters if _inside(p.name, root)} for root in roots]
    once = sum(map(len, below)) == len(full) and all(below)
    _fits(once and set().union(*below) == full, "modules_to_save is not what was trained in full")


def _inside(name: str, root: str) -> bool:
    return name == root or name.startswith(f"{root}.")


def _check_mapping(mapping: Any) -> None:
    """`auto_mapping` names a module that PEFT may import: it must be one of transformers."""
    if mapping is None:
        return
    known = isinstance(mapping, dict) and mapping.keys() == {"base_model_class", "parent_library"}
    library, name = (mapping["parent_library"], mapping["base_model_class"]) if known else (None, None)
    fine = isinstance(library, str) and _LIBRARY.fullmatch(library) is not None
    _fits(
        fine and isinstance(name, str) and name.isidentifier(),
        "auto_mapping is not a class of transformers",
    )


def _is(value: Any, expected: Any) -> bool:
    """Compare JSON values as JSON does: 1 is 1.0, but not `true`."""
    return canonical_json(value) == canonical_json(expected)


def _fits(holds: bool, message: str) -> None:
    require(holds, f"{NAME}: {message}", check="E_MODULES_ADAPTER")
