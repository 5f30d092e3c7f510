"""Load a base's processor where torchvision is missing: pictures through Pillow, no video."""

from __future__ import annotations

import json
from pathlib import Path

import transformers
from transformers.processing_utils import ProcessorMixin


def image_only(processor_class: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """Return the class without its video processor, which cannot be made without torchvision."""
    names = [name for name in processor_class.get_attributes() if "video" not in name]
    members = {"video_processor": None, "get_attributes": classmethod(lambda _: list(names))}
    # Name and module stay, because the name is what save_pretrained records.
    return type(
        processor_class.__name__, (processor_class,), {**members, "__module__": processor_class.__module__}
    )


def load_processor(base_dir: Path) -> ProcessorMixin:
    """Load the processor whose class the base records."""
    name = json.loads((base_dir / "processor_config.json").read_text())["processor_class"]
    return image_only(getattr(transformers, name)).from_pretrained(base_dir, backend="pil")
