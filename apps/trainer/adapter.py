"""What training left, written to disk: an adapter as PEFT lays it out, or the trained weights themselves."""

import json
from pathlib import Path
from typing import Any

from apps.trainer.bases import Base
from apps.trainer.freeze import live_parameters
from apps.trainer.plan import Plan
from kolm.errors import StorageError
from kolm.files import make_folder, read_bytes, write_atomic


def folder_name(plan: Plan) -> str:
    """Return the name of the folder that holds what was trained: its members' place in an artifact."""
    return "adapter" if plan.adapts else "weights"


def save_trained(model: Any, plan: Plan, base: Base, folder: Path) -> Path:
    """Write the adapter, or the weights where no part got LoRA factors, into `folder` and return it.

    The bytes depend on nothing but the content. Raises StorageError.
    """
    from safetensors import SafetensorError

    try:
        if plan.adapts:
            _save_adapter(model, plan, base, folder)
        else:
            _save_weights(model, plan, make_folder(folder))
    except (OSError, SafetensorError) as err:
        raise StorageError(f"cannot write to {folder}: {err}", hint="is the disk full?") from err
    return folder


def _save_adapter(model: Any, plan: Plan, base: Base, folder: Path) -> None:
    """Write the adapter as PEFT does, with a config of our own spelling.

    PEFT writes `target_modules` in hash order and shortened to suffixes, and the folder the base was
    loaded from; the full sorted lists and the base's name are written instead.
    """
    model.save_pretrained(str(folder), save_embedding_layers=False)
    path = folder / "adapter_config.json"
    config = json.loads(read_bytes(path, what="adapter config"))
    config |= {"target_modules": list(plan.targets), "base_model_name_or_path": base.model}
    config |= {"revision": base.revision, "modules_to_save": list(plan.full_modules) or None}
    config |= {"target_parameters": sorted(plan.target_parameters) or None}
    if base.trusted:
        config["auto_mapping"] = None  # PEFT would import the base's code by itself
    write_atomic(path, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    (folder / "README.md").unlink(missing_ok=True)


def _save_weights(model: Any, plan: Plan, folder: Path) -> None:
    """Write the trained tensors alone, by plain name."""
    from safetensors.torch import save_file

    live = live_parameters(model)
    tensors = {name: live[name].detach().cpu().contiguous() for name in plan.trained}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
