"""Load the model of a base: on the meta device without weights, or for real."""

import math
from pathlib import Path
from typing import Any

from apps.trainer.bases import WEIGHTS
from apps.trainer.foreign import translated
from kolm.errors import SpecError, TrainError
from kolm.spec import VLMTrainConfig
from kolm.tensors import read_header


def meta_model(directory: Path) -> Any:
    """Build the model of a checkpoint on the meta device: names and shapes, no weights, no memory.

    Raises SpecError, also when the files hold fewer weights than config.json describes: loading would
    fill the rest at random, and a misspelt key of config.json can ask for many gigabytes.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    with translated(
        f"{directory}: transformers cannot build this model from its config.json",
        hint="compare config.json with the model's original",
        error=SpecError,
    ):
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config)
    described = sum(parameter.numel() for parameter in model.parameters())
    held = sum(
        math.prod(entry.shape) for path in directory.glob(WEIGHTS) for entry in read_header(path).values()
    )
    if described > held:
        raise SpecError(
            f"{directory}: config.json describes {described:,} parameters, the weight files hold {held:,}",
            hint="use a complete checkpoint with its own config.json",
        )
    return model


def load_model(directory: Path, config: VLMTrainConfig) -> Any:
    """Load a base onto the config's device, in the checkpoint's own dtype unless told otherwise.

    Raises TrainError.
    """
    from transformers import AutoModelForImageTextToText

    with translated(f"{directory} cannot be loaded", hint="is it complete, and the device there?"):
        model, report = AutoModelForImageTextToText.from_pretrained(
            directory,
            dtype=config.dtype,
            attn_implementation=config.attn_implementation,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        model = model.to(device_of(config))
    lost = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lost:
        raise TrainError(
            f"{directory} lacks {len(lost)} tensors the model needs, such as {lost[0]}",
            hint="they would be random; use a complete checkpoint",
        )
    return model


def device_of(config: VLMTrainConfig) -> str:
    """Return the device that `config.device` means on this machine."""
    import torch

    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"
