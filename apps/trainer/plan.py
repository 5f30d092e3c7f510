"""What will be frozen and what will be trained, decided from names and shapes before any weight is read.

Everything here is pure over a model on the meta device and its family's module paths. The live
model is compared with this plan after training (`apps.trainer.freeze`).
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from apps.trainer.families import Family, Part
from apps.trainer.targets import Targets, expand_targets, expert_parameters, linear_modules
from apps.trainer.treatments import Treatment, treatments_of
from kolm.errors import FreezeMismatchError, SpecError
from kolm.modules import Servable
from kolm.names import MAGNITUDE, factor_name, plain_name
from kolm.spec import VLMTrainConfig

State = Literal["frozen", "trainable"]


@dataclass(frozen=True)
class Plan:
    """The promise for one model."""

    parts: dict[str, Part]
    """Part of every parameter the base has, by plain name, in the model's order."""
    shapes: dict[str, tuple[int, ...]]
    treatments: dict[Part, Treatment]
    targets: tuple[str, ...]
    """Linear layers that get LoRA factors, as full names in the model's memory, sorted."""
    full_modules: tuple[str, ...]
    """Modules that hold what is trained in full and nothing else, as full names in the model's memory."""
    states: dict[str, State]
    """State of every parameter after wrapping, LoRA factors included, by plain name."""
    added_to: dict[Part, int]
    """Elements that LoRA adds to each part that gets factors."""
    servable_as: Servable
    """Where the result can be served: engines that take LoRA refuse fully trained modules."""
    dtype: str
    """Type the weights are loaded in, as torch spells it."""
    target_parameters: tuple[str, ...] = ()
    """3-D expert parameters that get LoRA factors, as full names in the model's memory, in its order."""
    stands: dict[str, list[str]] = field(default_factory=dict)
    """For each word of `lora_targets` the names of layers that it meant here."""
    left_frozen: tuple[str, ...] = ()
    """Plain names of parameters of a part trained in full that stay frozen: no module holds them alone."""

    @property
    def adapts(self) -> bool:
        """Whether any part gets LoRA factors; if none does, PEFT has no part in the training."""
        return "lora" in self.treatments.values()

    @property
    def trained(self) -> list[str]:
        """Plain names of everything that is trained, LoRA factors included."""
        return [name for name, state in self.states.items() if state == "trainable"]

    @property
    def added(self) -> int:
        """Elements that LoRA adds."""
        return sum(self.added_to.values())

    def elements(self, *parts: Part) -> int:
        """Count the base's own elements in these parts."""
        return sum(math.prod(self.shapes[name]) for name, part in self.parts.items() if part in parts)


def plan_for(model: Any, family: Family, config: VLMTrainConfig) -> Plan:
    """Plan the freeze of a model (on the meta device) under a config.

    Raises FreezeMismatchError when the family's paths do not describe this model, SpecError when
    the config names LoRA targets that match nothing or asks for what cannot be.
    """
    shapes = {plain_name(name): tuple(parameter.shape) for name, parameter in model.named_parameters()}
    parts = partition(list(shapes), family)
    _agree_with_accessors(model, family, parts)
    treatments = treatments_of(family, config)
    targets = expand_targets(model, family, config)
    full, bare = _cover(model, parts, treatments)
    if "lora" in treatments.values():
        _check_ties(model, full)
    else:
        bare = []  # without PEFT every parameter can be trained by itself
    states: dict[str, State] = {
        name: "trainable" if treatments[part] == "full" and name not in bare else "frozen"
        for name, part in parts.items()
    }
    treatments = _happening(treatments, parts, states, config)
    factors = dict(_factors(model, family, targets, config))
    states |= dict.fromkeys(factors, "trainable")
    return Plan(
        parts=parts,
        shapes=shapes,
        treatments=treatments,
        targets=targets.linears,
        full_modules=tuple(full),
        states=states,
        added_to=_by_part(factors, family),
        servable_as=_servable(treatments, targets, config),
        dtype=_dtype(model, config),
        target_parameters=targets.parameters,
        stands=targets.stands,
        left_frozen=tuple(bare),
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


def _dtype(model: Any, config: VLMTrainConfig) -> str:
    """The type that `dtype: auto` means for this checkpoint: what its config.json says, else float32."""
    if config.dtype != "auto":
        return config.dtype
    return str(getattr(model.config, "dtype", None) or "float32").removeprefix("torch.")


def _cover(
    model: Any, parts: dict[str, Part], treatments: dict[Part, Treatment]
) -> tuple[list[str], list[str]]:
    """Return the largest modules that hold fully trained parameters alone, and the parameters left over.

    The first as full names in memory, the second as plain names. A module without a `forward` of its own (a
    list of layers) cannot be wrapped; its children can. Nor is one with which a buffer of a child would be
    saved (Florence-2's table of positions): what was trained is saved and nothing else.
    """
    import torch

    wanted = {name for name, part in parts.items() if treatments[part] == "full"}
    modules: list[str] = []
    bare: list[str] = []

    def visit(path: str, module: Any) -> None:
        below = [plain_name(f"{path}.{name}".lstrip(".")) for name, _ in module.named_parameters()]
        if not wanted.intersection(below):
            return
        callable_ = type(module).forward is not torch.nn.Module.forward
        own = [plain_name(f"{path}.{name}".lstrip(".")) for name, _ in module.named_parameters(recurse=False)]
        if path and callable_ and wanted.issuperset(below) and (own or not _saves_buffers(module)):
            modules.append(path)
            return
        bare.extend(name for name in own if name in wanted)
        for name, child in module.named_children():
            visit(f"{path}.{name}".lstrip("."), child)

    visit("", model)
    return modules, bare


def _saves_buffers(module: Any) -> bool:
    """Say whether a module's state holds more than its parameters."""
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    return bool(module.state_dict().keys() - parameters)


def _check_ties(model: Any, modules: list[str]) -> None:
    """Refuse to train a module in full beside adapters when another shares a tensor with it.

    PEFT trains a copy of the module, so that the two would come apart. Raises SpecError.
    """
    holders: dict[int, set[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        inside = next((m for m in modules if name.startswith(f"{m}.")), "")
        holders.setdefault(id(tensor), set()).add(inside)
    torn = sorted(max(found) for found in holders.values() if len(found) > 1)
    if torn:
        raise SpecError(
            f"{torn[0]} shares a tensor with another module, so it cannot be trained in full beside adapters",
            hint="train the other parts in full too, or freeze them",
        )


def _happening(
    treatments: dict[Part, Treatment],
    parts: dict[str, Part],
    states: dict[str, State],
    config: VLMTrainConfig,
) -> dict[Part, Treatment]:
    """Correct the parts of which nothing can be trained in full: `auto` freezes them, else SpecError."""
    trained = {part for name, part in parts.items() if states[name] == "trainable"}
    idle = [p for p, t in treatments.items() if t == "full" and p not in trained]
    for part in idle:
        asked = getattr(config.parts, part, "auto")
        if asked != "auto":
            raise SpecError(
                f"train.parts.{part}: {asked}, but this model has no module for that part alone",
                hint=f"set train.parts.{part}: frozen",
            )
    return {part: "frozen" if part in idle else treatment for part, treatment in treatments.items()}


def _factors(
    model: Any, family: Family, targets: Targets, config: VLMTrainConfig
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield plain name and shape of every tensor that PEFT adds."""
    linears, experts, rank = linear_modules(model), expert_parameters(model, family), config.lora_r
    for target in targets.linears:
        inside, outside = linears[target]
        yield factor_name(plain_name(target), "lora_A"), (rank, inside)
        yield factor_name(plain_name(target), "lora_B"), (outside, rank)
        if config.method == "dora":
            yield factor_name(plain_name(target), MAGNITUDE), (outside,)
    for target in targets.parameters:
        count, one, other = experts[target]
        module = model.get_submodule(target.rpartition(".")[0])
        inside, outside = (one, other) if getattr(module, "is_transposed", False) else (other, one)
        yield factor_name(plain_name(target), "lora_A", expert=True), (rank * count, inside)
        yield factor_name(plain_name(target), "lora_B", expert=True), (outside, rank * count)


def _by_part(shapes: dict[str, tuple[int, ...]], family: Family) -> dict[Part, int]:
    sizes: Counter[Part] = Counter()
    for name, part in partition(list(shapes), family).items():
        sizes[part] += math.prod(shapes[name])
    return dict(sizes)


def _servable(treatments: dict[Part, Treatment], targets: Targets, config: VLMTrainConfig) -> Servable:
    if "full" in treatments.values() or targets.parameters or config.method == "dora":
        return "merged"
    return "lora+connector" if "lora" in (treatments["vision"], treatments["projector"]) else "lora"


def _agree_with_accessors(model: Any, family: Family, parts: dict[str, Part]) -> None:
    """Check the family's paths against the model's own accessors. Raises FreezeMismatchError.

    Where an accessor returns nothing, or the whole model, it says nothing.
    """
    roles: tuple[tuple[str, str, set[Part]], ...] = (
        ("get_decoder", "decoder", {"language"}),
        ("get_encoder", "image encoder", {"vision", "projector"}),
    )
    for accessor, role, wanted in roles:
        names = _parameters(model, _accessed(model, accessor))
        inside = {parts[name] for name in names if name in parts}
        if inside and not inside & wanted:
            raise FreezeMismatchError(
                f"family {family.name}: the {role} holds parameters of {', '.join(sorted(inside))}",
                hint=f"complete apps/trainer/families/{family.name}.py",
            )


def _accessed(model: Any, accessor: str) -> Any:
    """Return what an accessor returns, or None when that is the whole model."""
    method = getattr(model, accessor, None)
    found = method("image") if method and accessor == "get_encoder" else method() if method else None
    return None if found is model or found is getattr(model, "base_model", None) else found


def _parameters(model: Any, module: Any) -> list[str]:
    """Plain names of the parameters of one of a model's modules; a string or None has none."""
    path = next((name for name, each in model.named_modules() if each is module), None)
    if path is None:
        return []
    return [plain_name(f"{path}.{name}") for name, _ in module.named_parameters()]
