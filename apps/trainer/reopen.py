"""What training saved, opened again on a freshly loaded base: tensor for tensor, and logit for logit.

PEFT loads an adapter whose keys it does not know into nothing and only warns, so nothing is left to it:
the keys of the file are compared with those of the live model before a tensor is copied.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from apps.trainer.foreign import translated
from apps.trainer.freeze import live_parameters
from apps.trainer.origins import tensor_digest
from apps.trainer.renames import find_roots, owner_of, rename_module, rename_tensor
from kolm.errors import EvalError
from kolm.modules import ModuleManifest, Parameter
from kolm.names import plain_name

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
WEIGHTS = "model.safetensors"
_PREFIX = "base_model.model."
"""What PEFT puts before every key of an adapter file."""

_NAMING = ("target_modules", "modules_to_save", "target_parameters")
"""Settings of an adapter that name modules or parameters."""

_HINT = "was it compiled from this base, with this version of transformers and peft?"


def open_trained(model: Any, folder: Path) -> Any:
    """Put what training saved onto a freshly loaded base and return the model, in eval mode.

    `folder` holds a PEFT adapter, or `model.safetensors` with weights by their plain names. Modules that
    transformers has moved since are found under their present paths when there is exactly one way.
    Raises EvalError naming what is missing or too much.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        return _with_adapter(model, folder).eval()
    modules = {plain_name(name): module for name, module in model.named_modules()}
    saved = _read(folder / WEIGHTS)
    roots = _roots(saved, modules)
    renamed = {rename_tensor(name, roots, live=modules): tensor for name, tensor in saved.items()}
    live = {plain_name(name): parameter.data for name, parameter in model.named_parameters()}
    _fill({name: tensor for name, tensor in live.items() if name in renamed}, renamed)
    return model.eval()


def check_loaded(model: Any, manifest: ModuleManifest, *, merged: bool = False) -> None:
    """Compare the live trained tensors with a manifest: all of them are there, with its digests.

    In a merged model only those can be that the base has too. Raises EvalError.
    """
    live = live_parameters(model)
    trained = {
        p.name: p
        for p in manifest.parameters
        if p.state == "trainable" and (p.before is not None or not merged)
    }
    modules = {plain_name(name): module for name, module in model.named_modules()}
    modules |= {
        name: tensor for name, tensor in live.items() if tensor.dim() == 3
    }  # experts have factors too
    roots = find_roots({name: tuple(p.shape) for name, p in trained.items()}, modules) or {}
    found: dict[str, Parameter] = {rename_tensor(n, roots, live=modules): p for n, p in trained.items()}
    wrong = [name for name, p in found.items() if name not in live or tensor_digest(live[name]) != p.after]
    wrong += [name for name in live if ".lora_" in name and name not in found]
    if wrong:
        raise EvalError(
            f"{len(wrong)} of {len(trained)} trained tensors are not as they were saved, such as {wrong[0]}",
            hint="the installed transformers or peft reads this layout differently",
        )


def _with_adapter(model: Any, folder: Path) -> Any:
    """Wrap a model as an adapter's config says and fill in its tensors. Raises EvalError."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

    modules = dict(model.named_modules())
    saved = {name.removeprefix(_PREFIX): t for name, t in _read(folder / ADAPTER_WEIGHTS).items()}
    roots = _roots(saved, modules)
    settings = _settings(folder, roots, live=modules)
    with translated("the adapter does not fit this model", hint=_HINT, error=EvalError):
        wrapped = get_peft_model(model, LoraConfig(**settings))
        live = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    renamed = {rename_tensor(name, roots, live=modules): tensor for name, tensor in saved.items()}
    _fill({name.removeprefix(_PREFIX): tensor for name, tensor in live.items()}, renamed)
    return wrapped


def _read(path: Path) -> dict[str, Any]:
    """Read a safetensors file. Raises EvalError."""
    with translated(f"{path.name} cannot be loaded", hint=_HINT, error=EvalError):
        from safetensors.torch import load_file

        tensors: dict[str, Any] = load_file(path)
    return tensors


def _roots(saved: Mapping[str, Any], modules: Mapping[str, Any]) -> dict[str, str]:
    """Find where the modules of a file are in the live model. Raises EvalError."""
    roots = find_roots({name: tuple(tensor.shape) for name, tensor in saved.items()}, modules)
    if roots is None:
        lost = sorted(name for name in saved if owner_of(name)[0] not in modules)
        raise EvalError(
            f"the trained tensors belong to modules that this model does not have{_few(lost)}",
            hint="their paths changed, and it cannot be told which module they belong to now: "
            "install the transformers of the spec.lock.json it was compiled with",
        )
    return roots


def _settings(folder: Path, roots: Mapping[str, str], *, live: Mapping[str, Any]) -> dict[str, Any]:
    """Read an adapter's settings, with the names of its modules as they are in the live model.

    Raises EvalError for anything but LoRA, and for a module that is named in full and not there.
    """
    from peft import LoraConfig

    with translated(f"{ADAPTER_CONFIG} cannot be read", hint=_HINT, error=EvalError):
        settings: dict[str, Any] = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        kind = settings.pop("peft_type", None)
        unknown = sorted(settings.keys() - LoraConfig.__dataclass_fields__.keys())
    if kind != "LORA" or unknown:
        raise EvalError(
            f"{ADAPTER_CONFIG}: {f'unknown setting {unknown[0]}' if unknown else f'the type is {kind}'}",
            hint="kolm opens LoRA adapters of the installed peft or an older one",
        )
    for key in _NAMING:
        if isinstance(settings.get(key), list):
            settings[key] = [_present(name, roots, live=live) for name in settings[key]]
    targets = settings.get("target_modules")
    lost = [t for t in targets if "." in t and t not in live] if isinstance(targets, list) else []
    if lost:
        raise EvalError(f"{ADAPTER_CONFIG} names modules that are not in this model{_few(lost)}", hint=_HINT)
    settings["inference_mode"] = True
    return settings


def _present(name: str, roots: Mapping[str, str], *, live: Mapping[str, Any]) -> str:
    """Return the present name of a module or a parameter; a bare leaf such as `q_proj` stays."""
    if "." not in name and name not in roots:
        return name
    if rename_module(name, roots, live=live) in live:
        return rename_module(name, roots, live=live)
    return rename_tensor(name, roots, live=live)


def _fill(live: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Copy saved tensors into live ones of the same names and shapes. Raises EvalError before it copies."""
    missing = sorted(live.keys() - saved.keys())
    extra = sorted(saved.keys() - live.keys())
    odd = [name for name in saved.keys() & live.keys() if saved[name].shape != live[name].shape]
    if missing or extra or odd:
        raise EvalError(
            f"the saved tensors are not those of the model: {len(missing)} missing{_few(missing)}, "
            f"{len(extra)} too many{_few(extra)}, {len(odd)} of another shape{_few(sorted(odd))}",
            hint=_HINT,
        )
    import torch

    with torch.no_grad():
        for name, tensor in saved.items():
            live[name].copy_(tensor)


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return f" ({', '.join(listed[:3])}{', ...' if len(listed) > 3 else ''})" if listed else ""
