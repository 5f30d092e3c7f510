"""Names of parameters: what a manifest calls what PEFT, transformers and a model's memory call otherwise.

The rules are those of specs/formats/modules.md 2.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

MAGNITUDE = "lora_magnitude_vector"
"""What DoRA adds beside the two factors: one number for each output of the layer."""

_LORA_FACTOR = re.compile(r"\.(lora_[A-Za-z_]+)(?:\.default)?(?:\.weight)?$")
_WRAPPER = re.compile(r"\.(?:base_layer|original_module|modules_to_save\.default)(?=\.|$)")


def plain_name(key: str) -> str:
    """Return the manifest name for a parameter name of a PEFT model or for a key of its adapter file.

    `base_model.model.model.language_model.layers.0.q_proj.lora_A.default.weight` becomes
    `language_model.layers.0.q_proj.lora_A`.
    """
    name = key.removeprefix("base_model.model.")
    name = _LORA_FACTOR.sub(r".\1", name)
    return _WRAPPER.sub("", name).removeprefix("model.")


def plain_names(keys: Iterable[str], *, experts: Sequence[str] = ()) -> dict[str, str]:
    """Return {key: manifest name} of an adapter's keys.

    `experts` are the manifest names of 3-D parameters that have factors, in the model's order. PEFT wraps the
    module that holds them once for each, the first innermost, so the number of `base_layer` before a factor
    says whose it is: `experts.base_layer.lora_A` and `experts.lora_A` become
    `experts.lora_A.gate_up_proj` and `experts.lora_A.down_proj`.
    """
    wrapped: dict[str, list[str]] = {}
    for name in experts:
        wrapped.setdefault(name.rpartition(".")[0], []).insert(0, name)
    return {key: _beside(key, wrapped) for key in keys}


def _beside(key: str, wrapped: Mapping[str, Sequence[str]]) -> str:
    """Return a key's manifest name; `wrapped` lists each expert module's parameters, the outermost first."""
    name = plain_name(key)
    owner, _, factor = name.rpartition(".")
    depth = key.count(".base_layer.")
    if owner in wrapped and factor.startswith("lora_") and depth < len(wrapped[owner]):
        return factor_name(wrapped[owner][depth], factor, expert=True)
    return name


def factor_name(adapted: str, factor: str, *, expert: bool = False) -> str:
    """Return the manifest name of what training added to a layer, or to a 3-D expert parameter.

    The latter puts the factor first: `experts.lora_A.down_proj`, because a pattern that covers the frozen
    `experts.down_proj` covers everything below it too.
    """
    if not expert:
        return f"{adapted}.{factor}"
    module, _, leaf = adapted.rpartition(".")
    return f"{module}.{factor}.{leaf}"


def adapted_by(name: str) -> tuple[str, str]:
    """Return (what is adapted, factor) of an added parameter's name: the inverse of `factor_name`."""
    owner, _, leaf = name.rpartition(".")
    above, _, factor = owner.rpartition(".")
    return (f"{above}.{leaf}", factor) if factor.startswith("lora_") else (owner, leaf)
