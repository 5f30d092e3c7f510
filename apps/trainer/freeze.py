"""Apply a plan to a live model, look at what came of it, and refuse to go on when they differ."""

from collections.abc import Mapping
from typing import Any

from apps.trainer.bases import Base
from apps.trainer.families import Family, Part
from apps.trainer.foreign import quiet
from apps.trainer.origins import ADDED, Origins, tensor_digest
from apps.trainer.plan import Plan
from kolm.errors import FreezeMismatchError
from kolm.modules import Buffer, Gradient, ModuleManifest, Parameter, plain_name
from kolm.spec import VLMTrainConfig

_ORIGINAL = ".original_module."
"""PEFT keeps the untouched copy of a fully trained module under this name."""


def wrap(model: Any, plan: Plan, config: VLMTrainConfig) -> Any:
    """Return the model with LoRA factors and fully trained modules exactly where the plan says.

    Everything else stops requiring gradients. PEFT is given full module names: its usual suffix
    matching would reach into the vision tower.
    """
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        bias="none",
        target_modules=list(plan.targets),
        modules_to_save=list(plan.full_modules) or None,
    )
    with quiet():
        return get_peft_model(model, lora)


def training_mode(model: Any, family: Family, plan: Plan) -> None:
    """Put trained parts in train mode and frozen towers in eval mode (no dropout, fixed statistics)."""
    model.train()
    for name, module in model.named_modules():
        part = family.part_of(plain_name(name))
        if part is not None and plan.treatments[part] == "frozen":
            module.train(False)


def digests(model: Any) -> dict[str, str]:
    """Return {plain name: digest} of every parameter and buffer of an unwrapped model."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {plain_name(name): tensor_digest(tensor) for name, tensor in named}


def observe(
    model: Any, *, base: Base, before: Mapping[str, str], gradients: Mapping[str, float]
) -> ModuleManifest:
    """Describe the live, wrapped model after training.

    `before` are the digests of the unwrapped model, `gradients` the largest gradient norm seen for
    each parameter that ever received one. Nothing is taken from a plan or a config.
    """
    origins = Origins(base.directory)
    aliases = _aliases(model)
    parameters = [
        Parameter(
            name=name,
            shape=list(tensor.shape),
            dtype=_dtype(tensor),
            part=_part(name, base.family),
            state="trainable" if tensor.requires_grad else "frozen",
            before=before.get(name),
            after=tensor_digest(tensor),
            base=origins.of(aliases[id(tensor)], tensor, before[name]) if name in before else ADDED,
            gradient=_gradient(name, gradients) if tensor.requires_grad else None,
        )
        for name, tensor in _live(model).items()
    ]
    return ModuleManifest.of(
        family=base.family.name,
        model_type=base.model_type,
        parameters=parameters,
        buffers=_buffers(model, base.family, before, origins),
    )


def compare(manifest: ModuleManifest, plan: Plan) -> None:
    """Refuse to go on when the model that was observed is not the model that was planned.

    Raises FreezeMismatchError naming up to five parameters each way.
    """
    seen = {parameter.name: parameter.state for parameter in manifest.parameters}
    unplanned = [n for n, state in seen.items() if plan.states.get(n) != state]
    unseen = [n for n in plan.states if n not in seen]
    misplaced = [p.name for p in manifest.parameters if p.name in plan.parts and p.part != plan.parts[p.name]]
    changed = manifest.changed()
    for names, fault in (
        (unplanned, "are not in the state that was planned"),
        (unseen, "were planned but are not in the model"),
        (misplaced, "are not in the part that was planned"),
        (changed, "are frozen but their bytes changed"),
    ):
        if names:
            raise FreezeMismatchError(
                f"{len(names)} parameters {fault}: {', '.join(names[:5])}",
                hint="nothing was signed; the family file or a library is at fault, please report it",
            )


def _live(model: Any) -> dict[str, Any]:
    """{plain name: tensor}; the untouched copies PEFT keeps of fully trained modules are left out.

    A tensor with two names, such as an output head tied to the embedding, stands under its first.
    """
    return {plain_name(name): tensor for name, tensor in model.named_parameters() if _ORIGINAL not in name}


def _aliases(model: Any) -> dict[int, list[str]]:
    """{id of a tensor: all its plain names, in the model's order}."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(tensor), []).append(plain_name(name))
    return names


def _buffers(model: Any, family: Family, before: Mapping[str, str], origins: Origins) -> list[Buffer]:
    named = {plain_name(n): t for n, t in model.named_buffers() if _ORIGINAL not in n}
    return [
        Buffer(
            name=name,
            shape=list(tensor.shape),
            dtype=_dtype(tensor),
            part=_part(name, family),
            base=origins.of([name], tensor, before[name]),
            before=before[name],
            after=tensor_digest(tensor),
        )
        for name, tensor in named.items()
    ]


def _part(name: str, family: Family) -> Part:
    part = family.part_of(name)
    if part is None:
        raise FreezeMismatchError(f"family {family.name} has no part for {name}, which is in the live model")
    return part


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _gradient(name: str, gradients: Mapping[str, float]) -> Gradient:
    largest = gradients.get(name, 0.0)
    return Gradient(seen=largest > 0, max_norm=float(f"{largest:.6g}"))
