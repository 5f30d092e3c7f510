"""Load the model of a base: on the meta device without weights, or for real."""

from typing import Any

from apps.trainer.bases import Base
from apps.trainer.foreign import translated
from apps.trainer.headers import dtype_held, elements_held
from apps.trainer.modelcode import only_code_of
from apps.trainer.quantize import (
    check_quantization,
    check_widths,
    quantization_config,
    require_bitsandbytes,
    settle,
)
from kolm.errors import SpecError, TrainError, UnknownFamilyError
from kolm.spec import VLMTrainConfig


def meta_model(base: Base) -> Any:
    """Build the model of a base on the meta device: names and shapes, no weights, no memory.

    A base stored quantised is built as it was before that. Raises SpecError, also when the files hold
    fewer weights than config.json describes: loading would fill the rest at random, and a misspelt key
    of config.json can ask for many gigabytes. A base without weight files is not compared.
    """
    import torch

    if base.family.code == "none":
        raise UnknownFamilyError(
            f"transformers has no class for {base.family.name}",
            hint="its names and shapes can be read from the weight files alone",
        )
    with (
        only_code_of(base),
        translated(
            f"{base.directory}: transformers cannot build this model from its config.json",
            hint="its own code may need packages, or another transformers: see the model's page"
            if base.trusted
            else "compare config.json with the model's original",
            error=SpecError,
        ),
        torch.device("meta"),
    ):
        model = _build(base)
    if base.has_weights:
        _require_enough(base, sum(parameter.numel() for parameter in model.parameters()))
        model.config.dtype = model.config.dtype or dtype_held(base)
    return model


def _require_enough(base: Base, described: int) -> None:
    """Raises SpecError."""
    held = elements_held(base)
    if described > held:
        raise SpecError(
            f"{base.directory}: config.json describes {described:,} parameters, "
            f"the weight files hold {held:,}",
            hint="use a complete checkpoint with its own config.json",
        )


def _build(base: Base) -> Any:
    """Build the model from its config alone."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        base.directory, local_files_only=True, trust_remote_code=base.trusted
    )
    if base.family.config_part:  # a checkpoint may hold that part alone
        config = getattr(config, base.family.config_part, config)
    loader = getattr(transformers, base.family.loader)
    if base.family.loader.startswith("Auto"):
        return loader.from_config(config, trust_remote_code=base.trusted)
    return loader(config)


def model_to_plan(base: Base, config: VLMTrainConfig) -> Any:
    """Build the model on the meta device, for a config that can be honoured on it.

    Raises SpecError, TrainError when a package is missing that the config needs.
    """
    check_quantization(base, config)
    if config.optim == "adamw_8bit":
        require_bitsandbytes("train.optim: adamw_8bit")
    model = meta_model(base)
    if config.gradient_checkpointing and not model.supports_gradient_checkpointing:
        raise SpecError(
            f"train.gradient_checkpointing: the code of {type(model).__name__} has no such thing",
            hint="set it to false",
        )
    stored = base.quantization is not None
    if config.quantization and config.quantization.bits == 4 and not stored and device_of(config) == "cpu":
        check_widths(model, base)
    return model


def load_model(base: Base, config: VLMTrainConfig) -> Any:
    """Load a base onto the config's device, in the checkpoint's own dtype unless told otherwise.

    With `quantization` the language tower's linear layers are quantised on the way in, and no others.
    Raises TrainError, SpecError, FreezeMismatchError.
    """
    import transformers

    device = device_of(config)
    quantised = config.quantization is not None or base.quantization is not None
    options = _quantising(base, config, device) if quantised else {}
    failure, hint = f"{base.directory} cannot be loaded", "is it complete, and the device there?"
    with only_code_of(base), translated(failure, hint=hint):
        model, report = getattr(transformers, base.family.loader).from_pretrained(
            base.directory,
            dtype=config.dtype,
            attn_implementation=config.attn_implementation,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=base.trusted,
            output_loading_info=True,
            **options,
        )
        model = model if quantised else model.to(device)
    lost = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lost:
        raise TrainError(
            f"{base.directory} lacks {len(lost)} tensors the model needs, such as {lost[0]}",
            hint="they would be random; use a complete checkpoint",
        )
    if quantised:
        settle(model, base, config)
    return model


def _quantising(base: Base, config: VLMTrainConfig, device: str) -> dict[str, Any]:
    """Return what loading with quantised weights needs; they are quantised on the device they stay on."""
    chosen = quantization_config(base, config, model=model_to_plan(base, config))
    return {"device_map": {"": device}} | ({"quantization_config": chosen} if chosen else {})


def device_of(config: VLMTrainConfig) -> str:
    """Return the device that `config.device` means on this machine."""
    import torch

    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"
