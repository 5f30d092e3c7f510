"""What will be frozen and what will be trained, decided from names and shapes before any weight is read.

Everything here is pure over a model on the meta device and its family's module paths. The live
model is compared with this plan after training (`apps.trainer.freeze`).
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from apps.trainer.families import Family, Part
from kolm.errors import FreezeMismatchError, SpecError
from kolm.modules import plain_name
from kolm.spec import VLMTrainConfig

Treatment = Literal["frozen", "lora", "full"]


@dataclass(frozen=True)
class Plan:
    """The promise for one model."""

    parts: dict[str, Part]
    """Part of every parameter the base has, by plain name, in the model's order."""
    shapes: dict[str, tuple[int, ...]]
    treatments: dict[Part, Treatment]
    targets: tuple[str, ...]
    """Modules that get LoRA factors, as full names in the model's memory, sorted."""
    full_modules: tuple[str, ...]
    """Modules trained in full, as full names in the model's memory."""
    states: dict[str, Literal["frozen", "trainable"]]
    """State of every parameter after wrapping, LoRA factors included, by plain name."""
    added: int
    """Elements that LoRA adds."""
    servable_as: Literal["lora", "merged"]
    """Where the adapter can be served: engines that take LoRA refuse fully trained modules."""
    dtype: str
    """Type the weights are loaded in, as torch spells it."""

    def elements(self, *parts: Part) -> int:
        """Count the base's own elements in these parts."""
        return sum(math.prod(self.shapes[name]) for name, part in self.parts.items() if part in parts)


def plan_for(model: Any, family: Family, config: VLMTrainConfig) -> Plan:
    """Plan the freeze of a model (on the meta device) under a config.

    Raises FreezeMismatchError when the family's paths do not describe this model, SpecError when
    the config names LoRA targets that match nothing.
    """
    shapes = {plain_name(name): tuple(parameter.shape) for name, parameter in model.named_parameters()}
    parts = partition(list(shapes), family)
    _agree_with_accessors(model, family)
    treatments = _treatments(family, config)
    if config.projector_lr is not None and treatments["projector"] != "full":
        raise SpecError(
            f"train.projector_lr has no effect: the projector is {treatments['projector']}",
            hint="remove it, or set train.parts.projector: full",
        )
    linears = linear_modules(model)
    targets = _targets(linears, family, config)
    full = [m for m in _roots(model, family) if treatments[_part(m, family)] == "full"]
    states: dict[str, Literal["frozen", "trainable"]] = {}
    for name, part in parts.items():
        states[name] = "trainable" if treatments[part] == "full" else "frozen"
    for target in targets:
        states |= {f"{plain_name(target)}.lora_{factor}": "trainable" for factor in "AB"}
    return Plan(
        parts=parts,
        shapes=shapes,
        treatments=treatments,
        targets=tuple(targets),
        full_modules=tuple(full),
        states=states,
        added=sum(config.lora_r * sum(linears[target]) for target in targets),
        servable_as="merged" if full else "lora",
        dtype=_dtype(model, config),
    )


def partition(names: list[str], family: Family) -> dict[str, Part]:
    """Give every parameter name its part. Raises FreezeMismatchError for one that has none."""
    parts = {name: family.part_of(name) for name in names}
    lost = [name for name, part in parts.items() if part is None]
    if lost:
        raise FreezeMismatchError(
            f"family {family.name} has no part for {len(lost)} parameters, such as {lost[0]}",
            hint=f"complete apps/trainer/families/{family.name}.py",
        )
    return {name: part for name, part in parts.items() if part is not None}


def linear_modules(model: Any) -> dict[str, tuple[int, int]]:
    """Return {full name in memory: (in features, out features)} of every linear layer."""
    import torch

    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def _dtype(model: Any, config: VLMTrainConfig) -> str:
    """The type that `dtype: auto` means for this checkpoint: what its config.json says, else float32."""
    if config.dtype != "auto":
        return config.dtype
    return str(getattr(model.config, "dtype", None) or "float32").removeprefix("torch.")


def _treatments(family: Family, config: VLMTrainConfig) -> dict[Part, Treatment]:
    """Resolve `parts`: what the spec leaves open follows DESIGN 3."""
    asked = config.parts
    projector = asked.projector
    if projector == "auto":
        projector = "frozen" if family.projector_inside_vision else "full"
    return {
        "vision": asked.vision,
        "projector": projector,
        "language": asked.language,
        "audio": asked.audio,
        "head": "frozen",
    }


def _targets(linears: dict[str, tuple[int, int]], family: Family, config: VLMTrainConfig) -> list[str]:
    """Expand LoRA target names to full module names under the language tower, sorted."""
    inside = [name for name in linears if _part(name, family) == "language"]
    if config.lora_targets == ("all-linear",):
        return sorted(inside)
    wanted = set(config.lora_targets)
    chosen = [name for name in inside if name.rpartition(".")[2] in wanted or plain_name(name) in wanted]
    reached = {name.rpartition(".")[2] for name in chosen} | {plain_name(name) for name in chosen}
    missing = sorted(wanted - reached)
    if missing:
        leaves = sorted({name.rpartition(".")[2] for name in inside})
        raise SpecError(
            f"LoRA targets that match no linear layer of the language tower: {', '.join(missing)}",
            hint=f"its linear layers are called {', '.join(leaves)}",
        )
    return sorted(chosen)


def _part(module: str, family: Family) -> Part | None:
    return family.part_of(plain_name(module))


def _roots(model: Any, family: Family) -> list[str]:
    """Full names in memory of the modules that the family's part paths name."""
    paths = {*family.vision, *family.projector, *family.language, *family.head, *family.audio}
    return [name for name, _ in model.named_modules() if plain_name(name) in paths]


def _agree_with_accessors(model: Any, family: Family) -> None:
    """Check the family's paths against the model's own accessors. Raises FreezeMismatchError."""
    names = {id(module): plain_name(name) for name, module in model.named_modules()}
    decoder = names.get(id(model.get_decoder()), "")
    if _part(decoder, family) != "language":
        raise FreezeMismatchError(
            f"family {family.name}: the decoder is {decoder!r}, not in its language part"
        )
    encoder = names.get(id(model.get_encoder("image")), "")
    if _part(encoder, family) not in ("vision", "projector"):
        raise FreezeMismatchError(
            f"family {family.name}: the image encoder is {encoder!r}, not in its vision part"
        )
