"""Apply a plan to a live model, look at what came of it, and refuse to go on when they differ."""

from collections.abc import Iterator, Mapping
from typing import Any

from apps.trainer.bases import Base
from apps.trainer.families import Family, Part
from apps.trainer.foreign import translated
from apps.trainer.origins import ADDED, Origins, tensor_digest
from apps.trainer.plan import Plan, State
from apps.trainer.quantize import state_tensors
from kolm.errors import FreezeMismatchError
from kolm.modules import Buffer, Gradient, ModuleManifest, Parameter
from kolm.names import factor_name, plain_name
from kolm.spec import VLMTrainConfig

_ORIGINAL = ".original_module."
"""PEFT keeps the untouched copy of a fully trained module under this name."""


def wrap(model: Any, plan: Plan, config: VLMTrainConfig) -> Any:
    """Return the model with LoRA factors and fully trained modules exactly where the plan says.

    Everything else stops requiring gradients. PEFT is given full module names: its usual suffix
    matching would reach into the vision tower. Where no part gets factors, the model itself is returned.
    Raises TrainError.
    """
    if not plan.adapts:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(plan.states[plain_name(name)] == "trainable")
        return model
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        bias="none",
        target_modules=list(plan.targets),
        target_parameters=list(plan.target_parameters) or None,
        modules_to_save=list(plan.full_modules) or None,
        use_rslora=config.method == "rslora",
        use_dora=config.method == "dora",
    )
    unloaded = any(parameter.is_meta for parameter in model.parameters())
    with translated("PEFT cannot wrap this model", hint="choose other train.lora_targets"):
        return get_peft_model(model, lora, low_cpu_mem_usage=unloaded)


def training_mode(model: Any, family: Family, plan: Plan, *, warming: bool | None = None) -> None:
    """Put trained parts in train mode and all others in eval mode (no dropout).

    A projector inside the vision tower can be trained while the tower is not. Layers that keep statistics of
    what they see, such as batch norms, are in eval mode wherever they are: buffers are not trained. Around a
    projector warm-up `warming` says on which side of its end the step is: within it the projector alone is
    trained and requires gradients, after it everything else that the plan trains.
    """
    active = {
        part
        for part, treatment in plan.treatments.items()
        if treatment != "frozen" and (warming is None or (part == "projector") is warming)
    }
    model.train()
    for name, module in model.named_modules():
        part = family.part_of(plain_name(name))
        if part not in (None, *active) or getattr(module, "running_mean", None) is not None:
            module.training = False  # not train(False), which reaches the parts inside it
    if warming is None:
        return
    for name, parameter in live_parameters(model).items():
        if plan.states.get(name) == "trainable":
            parameter.requires_grad_(_part(name, family) in active)


def rewind_rotations(model: Any) -> None:
    """Put rotary frequencies back as they were loaded, where a model follows the length of what it reads.

    Under `longrope` and `dynamic` each forward pass may write others into the buffer, and the next one again
    (transformers, `dynamic_rope_update`): they are no state of a model.
    """
    import torch

    for module in model.modules():
        for name in [n for n in (*module._buffers, *vars(module)) if n.endswith("original_inv_freq")]:
            prefix = name.removesuffix("original_inv_freq")
            with torch.no_grad():
                getattr(module, f"{prefix}inv_freq").copy_(getattr(module, name))
            if hasattr(module, f"{prefix}max_seq_len_cached"):
                setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)


def states_of(model: Any) -> dict[str, State]:
    """Return {plain name: state} of every parameter of a wrapped model, as it is."""
    return {
        name: "trainable" if parameter.requires_grad else "frozen"
        for name, parameter in live_parameters(model).items()
    }


def live_parameters(model: Any) -> dict[str, Any]:
    """Return {plain name: parameter} of a wrapped or unwrapped model, in its order.

    The untouched copies that PEFT keeps of fully trained modules are left out. A tensor with two names, such
    as an output head tied to the embedding, stands under its first. Factors of a 3-D parameter are told
    apart by its name: PEFT names them after the module that holds several.
    """
    return dict(_named(model))


def _named(model: Any, *, every: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield plain name and tensor of every parameter; with `every`, tensors under all of their names."""
    adapted = {
        name: plain_name(f"{name}.{module.parameter_name}")
        for name, module in model.named_modules()
        if hasattr(module, "parameter_name") and hasattr(module, "lora_A")
    }
    for name, tensor in model.named_parameters(remove_duplicate=not every):
        if _ORIGINAL in name:
            continue
        owner, mark, factor = name.rpartition(".lora_")
        if mark and owner in adapted:
            yield factor_name(adapted[owner], f"lora_{factor.partition('.')[0]}", expert=True), tensor
        else:
            yield plain_name(name), tensor


def digests(model: Any) -> dict[str, str]:
    """Return {plain name: digest} of every parameter and buffer of an unwrapped model.

    What quantised weights need to be read counts as buffers.
    """
    states = ((state.name, state.tensor) for state in state_tensors(model))
    named = [*model.named_parameters(), *model.named_buffers(), *states]
    return {plain_name(name): tensor_digest(tensor) for name, tensor in named}


def observe(
    model: Any, *, base: Base, before: Mapping[str, str], gradients: Mapping[str, float]
) -> ModuleManifest:
    """Describe the live, wrapped model after training.

    `before` are the digests of the unwrapped model, `gradients` the largest gradient norm seen for
    each parameter that ever received one; such a parameter was trained even where it no longer requires
    gradients, as after a warm-up. Nothing is taken from a plan or a config.
    """
    origins = Origins(base.directory, base.weights)
    aliases = _aliases(model)
    parameters = []
    for name, tensor in live_parameters(model).items():
        trained = tensor.requires_grad or name in gradients
        parameters.append(
            Parameter(
                name=name,
                shape=list(tensor.shape),
                dtype=_dtype(tensor),
                part=_part(name, base.family),
                state="trainable" if trained else "frozen",
                before=before.get(name),
                after=tensor_digest(tensor),
                base=origins.of(aliases[id(tensor)], tensor, before[name]) if name in before else ADDED,
                gradient=_gradient(name, gradients) if trained else None,
            )
        )
    return ModuleManifest.of(
        family=base.family.name,
        model_type=base.model_type,
        parameters=parameters,
        buffers=list(_buffers(model, base.family, parameters, before, origins)),
    )


def compare(manifest: ModuleManifest, plan: Plan) -> None:
    """Refuse to go on when the model that was observed is not the model that was planned.

    Raises FreezeMismatchError naming up to five parameters each way.
    """
    compare_states({parameter.name: parameter.state for parameter in manifest.parameters}, plan)
    misplaced = [p.name for p in manifest.parameters if p.name in plan.parts and p.part != plan.parts[p.name]]
    _none(misplaced, "are not in the part that was planned")
    _none(manifest.changed(), "are frozen but their bytes changed")


def compare_states(seen: Mapping[str, State], plan: Plan) -> None:
    """Refuse to go on when {plain name: state} is not what was planned, as after wrapping a model.

    Raises FreezeMismatchError.
    """
    unplanned = [n for n, state in seen.items() if plan.states.get(n) != state]
    _none(unplanned, "are not in the state that was planned")
    _none([n for n in plan.states if n not in seen], "were planned but are not in the model")


def _none(names: list[str], fault: str) -> None:
    if names:
        raise FreezeMismatchError(
            f"{len(names)} parameters {fault}: {', '.join(names[:5])}",
            hint="nothing was signed; the family file or a library is at fault, please report it",
        )


def _aliases(model: Any) -> dict[int, list[str]]:
    """{id of a tensor: all its plain names, in the model's order}."""
    names: dict[int, list[str]] = {}
    for name, tensor in _named(model, every=True):
        names.setdefault(id(tensor), []).append(name)
    return names


def _buffers(
    model: Any,
    family: Family,
    parameters: list[Parameter],
    before: Mapping[str, str],
    origins: Origins,
) -> Iterator[Buffer]:
    """Describe the buffers, and as such what quantised weights need to be read."""
    weights = {parameter.name: parameter.base for parameter in parameters}
    buffers = {plain_name(n): t for n, t in model.named_buffers() if _ORIGINAL not in n}
    owners = {plain_name(state.name): plain_name(state.weight) for state in state_tensors(model)}
    states = {plain_name(state.name): state.tensor for state in state_tensors(model)}
    for name, tensor in {**buffers, **states}.items():
        origin = origins.of([name], tensor, before[name])
        if origin == ADDED and name in owners:
            origin = origins.of_state(weights[owners[name]])
        yield Buffer(
            name=name,
            shape=list(tensor.shape),
            dtype=_dtype(tensor),
            part=_part(name, family),
            base=origin,
            before=before[name],
            after=tensor_digest(tensor),
        )


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
