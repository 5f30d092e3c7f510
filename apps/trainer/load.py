"""Load the model of a base: on the meta device without weights, or for real."""

import math
from typing import Any

from apps.trainer.bases import WEIGHTS, Base
from apps.trainer.foreign import translated
from kolm.errors import SpecError, TrainError
from kolm.spec import VLMTrainConfig
from kolm.tensors import read_header


def meta_model(base: Base) -> Any:
    """Build the model of a base on the meta device: names and shapes, no weights, no memory.

    Raises SpecError, also when the files hold fewer weights than config.json describes: loading would
    fill the rest at random, and a misspelt key of config.json can ask for many gigabytes.
    """
    import torch

    with (
        translated(
            f"{base.directory}: transformers cannot build this model from its config.json",
            hint="compare config.json with the model's original",
            error=SpecError,
        ),
        torch.device("meta"),
    ):
        model = _build(base)
    described = sum(parameter.numel() for parameter in model.parameters())
    held = sum(
        math.prod(entry.shape)
        for path in base.directory.glob(WEIGHTS)
        for entry in read_header(path).values()
    )
    if described > held:
        raise SpecError(
            f"{base.directory}: config.json describes {described:,} parameters, "
            f"the weight files hold {held:,}",
            hint="use a complete checkpoint with its own config.json",
        )
    return model


def _build(base: Base) -> Any:
    """Build the model from its config alone."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        base.directory, local_files_only=True, trust_remote_code=base.trusted
    )
    if base.family.config_part:
        config = getattr(config, base.family.config_part)
    loader = getattr(transformers, base.family.loader)
    if base.family.loader.startswith("Auto"):
        return loader.from_config(config, trust_remote_code=base.trusted)
    return loader(config)


def load_model(base: Base, config: VLMTrainConfig) -> Any:
    """Load a base onto the config's device, in the checkpoint's own dtype unless told otherwise.

    Raises TrainError.
    """
    import transformers

    with translated(f"{base.directory} cannot be loaded", hint="is it complete, and the device there?"):
        model, report = getattr(transformers, base.family.loader).from_pretrained(
            base.directory,
            dtype=config.dtype,
            attn_implementation=config.attn_implementation,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=base.trusted,
            output_loading_info=True,
        )
        model = model.to(device_of(config))
    lost = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lost:
        raise TrainError(
            f"{base.directory} lacks {len(lost)} tensors the model needs, such as {lost[0]}",
            hint="they would be random; use a complete checkpoint",
        )
    return model


def device_of(config: VLMTrainConfig) -> str:
    """Return the device that `config.device` means on this machine."""
    import torch

    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"
