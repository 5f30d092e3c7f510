"""Which layers get LoRA factors: the words of `lora_targets` expanded to full names in one model.

PEFT's own matching of bare names reaches into the vision tower in most families; here every name is
looked up in the part it is meant for. Everything is decided from names and shapes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.trainer.families import Family
from apps.trainer.treatments import treatments_of
from kolm.errors import SpecError
from kolm.layers import WORDS, holds_experts, kind_of, stands_for
from kolm.names import plain_name
from kolm.spec import SEVEN_PROJECTIONS, VLMTrainConfig
from kolm.validation import nearest

_READ_AS_EXPERTS = {
    "mixtral": ("gate", "w1", "w2", "w3"),
    "qwen2_moe": ("gate", "gate_proj", "up_proj", "down_proj"),
}
"""Leaves that PEFT takes for a mixture's own experts, by the layout that transformers converts a model's
checkpoints with: it would adapt those instead (peft.utils.transformers_weight_conversion,
`_MOE_TARGET_MODULE_MAPPING`, 0.21.2)."""


@dataclass(frozen=True)
class Targets:
    """What gets factors."""

    linears: tuple[str, ...]
    """Full names in memory of linear layers, sorted."""
    parameters: tuple[str, ...]
    """Full names in memory of 3-D expert parameters, in the model's order."""
    stands: dict[str, list[str]]
    """For each word of `lora_targets` the leaf names, or the full plain name, that it meant."""


def linear_modules(model: Any) -> dict[str, tuple[int, int]]:
    """Return {full name in memory: (in features, out features)} of every linear layer that can be adapted.

    Left out are layers whose weight is read without calling them, so that factors there would never be
    used: `out_proj` inside `torch.nn.MultiheadAttention`, and in Mamba mixers, whose fused kernel takes it.
    """
    import torch

    read_past = {
        f"{name}.out_proj"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.MultiheadAttention) or "Mamba" in type(module).__name__
    }
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name not in read_past
    }


def expert_parameters(model: Any, family: Family) -> dict[str, tuple[int, int, int]]:
    """Return {full name in memory: shape} of the language tower's 3-D expert weights, in its order."""
    return {
        name: tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if parameter.ndim == 3 and holds_experts(name) and family.part_of(plain_name(name)) == "language"
    }


def expand_targets(model: Any, family: Family, config: VLMTrainConfig) -> Targets:
    """Expand `lora_targets` in the language tower, and every linear layer of other parts that are `lora`.

    Raises SpecError for a name that matches nothing, naming what is there, and when a part that should get
    adapters has no layer for them.
    """
    treatments = treatments_of(family, config)
    parts = {name: family.part_of(plain_name(name)) for name in linear_modules(model)}
    chosen = [n for n, part in parts.items() if part not in ("language", None) and treatments[part] == "lora"]
    for part in ("vision", "projector"):
        if treatments[part] == "lora" and part not in {parts[name] for name in chosen}:
            raise SpecError(
                f"train.parts.{part}: lora, but the {part} of {family.name} has no linear layer",
                hint=f"set train.parts.{part}: full",
            )
    if treatments["language"] != "lora":
        return Targets(tuple(sorted(chosen)), (), {})
    tower = _Tower(model, family, [name for name, part in parts.items() if part == "language"])
    stands = {word: tower.meant(word) for word in dict.fromkeys(config.lora_targets)}
    experts = tower.chosen_experts(stands)
    linears = tower.chosen_linears(stands)
    _check_found(config, tower, stands, found=bool(linears or experts))
    _check_experts(config, experts)
    return Targets(tuple(sorted([*chosen, *linears])), tuple(experts), stands)


class _Tower:
    """The layers of one language tower, by plain name."""

    def __init__(self, model: Any, family: Family, linears: list[str]) -> None:
        self.experts = {plain_name(name): name for name in expert_parameters(model, family)}
        claimed = _claimed(model) if self.experts else ()
        named = {plain_name(name): name for name in linears}
        self.linears = {
            plain: name
            for plain, name in named.items()
            if kind_of(plain) != "router" and _leaf(plain) not in claimed
        }
        self.claimed = {_leaf(plain) for plain in named} & set(claimed)
        self._fused = family.stands_for

    @property
    def leaves(self) -> list[str]:
        return sorted({_leaf(plain) for plain in self.linears})

    def meant(self, word: str) -> list[str]:
        """Return the leaf names, or the one full name, that a word means here; [] for none."""
        if word == "experts":
            return sorted({_leaf(plain) for plain in self.experts})
        if word in WORDS:
            return sorted({_leaf(p) for p in self.linears if stands_for(p, word=word, leaves=[])})
        plain = plain_name(word)
        if plain in self.linears or plain in self.experts:
            return [plain]
        return sorted({word, *self._fused.get(word, ())} & set(self.leaves))

    def chosen_linears(self, stands: Mapping[str, list[str]]) -> list[str]:
        words = [(word, leaves) for word, leaves in stands.items() if word != "experts"]
        return [
            name
            for plain, name in self.linears.items()
            if any(stands_for(plain, word=word, leaves=leaves) for word, leaves in words)
        ]

    def chosen_experts(self, stands: Mapping[str, list[str]]) -> list[str]:
        everything = "experts" in stands
        return [
            name
            for plain, name in self.experts.items()
            if everything or any(plain in names for names in stands.values())
        ]


def _check_found(
    config: VLMTrainConfig, tower: _Tower, stands: Mapping[str, list[str]], *, found: bool
) -> None:
    """Every word of a list that was written out must mean something; of the default, one must."""
    missing = [word for word, names in stands.items() if not names]
    if not missing or (config.lora_targets == SEVEN_PROJECTIONS and found):
        return
    known = [name for name in (*tower.leaves, *WORDS) if name not in missing]
    near = [close for word in missing if (close := nearest(word, known))]
    meant = f"; did you mean {', '.join(dict.fromkeys(near))}?" if near else ""
    claimed = sorted(tower.claimed) if {*missing} & {*tower.claimed, "mlp"} else []
    why = f" (PEFT takes {', '.join(claimed)} for this model's experts)" if claimed else ""
    raise SpecError(
        f"LoRA targets that match no layer of the language tower: {', '.join(missing)}{why}",
        hint=f"its linear layers are called {', '.join(tower.leaves)}{meant}",
    )


def _check_experts(config: VLMTrainConfig, experts: list[str]) -> None:
    """PEFT adapts a 3-D parameter by adding to it: nothing can be dropped or normalised on the way."""
    if experts and (config.method == "dora" or config.lora_dropout):
        setting = "method: dora" if config.method == "dora" else "lora_dropout"
        raise SpecError(
            f"train.{setting} does not work with experts held as 3-D parameters",
            hint="remove it, or leave `experts` out of lora_targets",
        )


def _claimed(model: Any) -> tuple[str, ...]:
    """Leaves that PEFT would take for the experts of this model."""
    from transformers.conversion_mapping import (
        _MODEL_TO_CONVERSION_PATTERN,
        get_checkpoint_conversion_mapping,
    )

    kind = str(getattr(model.config, "model_type", ""))
    if get_checkpoint_conversion_mapping(kind) is None:
        return ()
    layout = "mixtral" if kind == "mixtral" else _MODEL_TO_CONVERSION_PATTERN.get(kind, "")
    return _READ_AS_EXPERTS.get(layout, ())


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
