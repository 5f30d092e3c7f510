"""Load a base's processor with Pillow, without torchvision."""

import json
from pathlib import Path
from typing import Any

from apps.trainer.bases import Base
from apps.trainer.foreign import translated


def load_processor(base: Base, *, min_pixels: int | None = None, max_pixels: int | None = None) -> Any:
    """Load the processor with Pillow as its image backend, without torchvision.

    Families whose processor insists on a video processor, which needs torchvision, get one that
    takes images only. Raises TrainError.
    """
    from transformers import AutoProcessor
    from transformers.utils import is_torchvision_available

    pixels = {"min_pixels": min_pixels, "max_pixels": max_pixels}
    options = {"backend": "pil", "local_files_only": True, "trust_remote_code": base.trusted} | {
        k: v for k, v in pixels.items() if v is not None
    }
    directory = base.directory
    with translated(f"{directory}: no usable processor", hint="is the checkpoint complete?"):
        try:
            return AutoProcessor.from_pretrained(directory, **options)
        except (ImportError, OSError, ValueError):
            if is_torchvision_available():
                raise
            return _image_only(_processor_class(directory)).from_pretrained(directory, **options)


def _processor_class(directory: Path) -> Any:
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    saved = directory / "processor_config.json"
    declared = (
        json.loads(saved.read_text(encoding="utf-8")).get("processor_class") if saved.is_file() else None
    )
    config = directory / "config.json"
    if declared is None:
        declared = PROCESSOR_MAPPING_NAMES[json.loads(config.read_text(encoding="utf-8"))["model_type"]]
    return getattr(transformers, declared)


def _image_only(cls: Any) -> Any:
    """Return the processor class without its video processor."""

    class ImageOnly(cls):
        video_processor = None

        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if "video" not in name]

    ImageOnly.__name__, ImageOnly.__qualname__ = cls.__name__, cls.__qualname__
    return ImageOnly
