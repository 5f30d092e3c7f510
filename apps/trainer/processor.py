"""Load a base's processor with Pillow, without torchvision."""

import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any

from apps.trainer.bases import Base
from apps.trainer.foreign import translated
from apps.trainer.interleaved import Interleaved
from apps.trainer.modelcode import only_code_of
from apps.trainer.numbered import Numbered
from apps.trainer.prefixed import Prefixed
from apps.trainer.tokenizer import VOCABULARIES, load_tokenizer, require_file, require_template


def load_processor(base: Base, *, min_pixels: int | None = None, max_pixels: int | None = None) -> Any:
    """Load the processor with Pillow as its image backend, without torchvision.

    A text-only base gets its tokenizer, called as processors are.
    Families whose processor insists on a video processor, which needs torchvision, get one that
    takes images only. Raises TrainError; SpecError for a checkpoint without tokenizer, processor or template.
    """
    if not base.family.sees_images:
        return load_tokenizer(base)
    from transformers import AutoProcessor
    from transformers.utils import is_torchvision_available

    require_file(base, "tokenizer", names=VOCABULARIES)
    require_file(base, "processor", names=_SETTINGS)
    options = {"backend": "pil", "local_files_only": True, "trust_remote_code": base.trusted}
    directory = base.directory
    failure, hint = f"{directory}: no usable processor", "is the checkpoint complete?"
    if base.family.needs:
        hint = f"this family needs {' and '.join(base.family.needs)}"
    with only_code_of(base), translated(failure, hint=hint):
        try:
            processor = AutoProcessor.from_pretrained(directory, **options)
        except (ImportError, OSError, ValueError):
            if is_torchvision_available():
                raise
            processor = image_only(_declared_class(directory)).from_pretrained(directory, **options)
        if base.family.pixel_limits:
            _limit(processor.image_processor, shortest_edge=min_pixels, longest_edge=max_pixels)
    wrap = _CALLED_OTHERWISE.get(type(processor).__name__)
    if wrap:
        return wrap(processor)
    if base.family.labels == "causal":
        require_template(base, processor.chat_template or processor.tokenizer.chat_template)
    return processor


_SETTINGS = ("processor_config.json", "preprocessor_config.json")
"""Files that hold a processor's settings, in the order in which transformers asks for them."""

_CALLED_OTHERWISE = {
    "IdeficsProcessor": Interleaved,
    "PaliGemmaProcessor": Prefixed,
    "Phi3VProcessor": Numbered,
}
"""Processors that are not called as most are, by the names of their classes."""


def _limit(pictures: Any, **limits: int | None) -> None:
    """Set how many pixels an image has at least and at most.

    Under transformers 5 they are the edges of `size`, and only Qwen's image processor takes them by their
    own names. GLM's counts the pixels of both frames that it makes of an image.
    """
    resize = getattr(sys.modules[type(pictures).__module__], "smart_resize", None)
    counted = resize is not None and "num_frames" in inspect.signature(resize).parameters
    for edge, limit in limits.items():
        if limit is not None:
            pictures.size[edge] = limit * (pictures.temporal_patch_size if counted else 1)


def _declared_class(directory: Path) -> Any:
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    declared = None
    for name in _SETTINGS:
        saved = directory / name
        if declared is None and saved.is_file():
            declared = json.loads(saved.read_text(encoding="utf-8")).get("processor_class")
    if declared is None:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        declared = PROCESSOR_MAPPING_NAMES[config["model_type"]]
    return processor_class(declared)


def processor_class(name: str) -> Any:
    """Return a processor class of transformers by name, also one that asks for torchvision needlessly."""
    import transformers

    # exported is a placeholder then, which knows where the real one lies
    return getattr(_without_torchvision(getattr(transformers, name).__module__), name)


def _without_torchvision(name: str) -> Any:
    """Import a processor's module; where it takes a function from the torchvision half, from the Pillow half.

    Pixtral's does: both halves have `get_resize_output_image_size`.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        wanted = name.replace(".processing_", ".image_processing_")
        sys.modules[wanted] = importlib.import_module(name.replace(".processing_", ".image_processing_pil_"))
        try:
            return importlib.import_module(name)
        finally:
            del sys.modules[wanted]


def image_only(cls: Any) -> Any:
    """Return the processor class without its video and audio halves."""
    from transformers import ProcessorMixin

    class ImagesAndText(ProcessorMixin):
        """Stands behind `cls`, before the class that takes apart what `cls` was given."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            given = dict(zip(cls.get_attributes(), args, strict=False)) | kwargs
            super().__init__(**{name: value for name, value in given.items() if not _absent(name)})

    class ImageOnly(cls, ImagesAndText):
        video_processor = _Absent()
        feature_extractor = None

        @classmethod
        def get_attributes(klass) -> list[str]:  # noqa: N804
            return [name for name in cls.get_attributes() if not _absent(name)]

        @classmethod
        def _get_arguments_from_pretrained(klass, *args: Any, **kwargs: Any) -> list[Any]:  # noqa: N804
            found = iter(super()._get_arguments_from_pretrained(*args, **kwargs))
            return [None if _absent(name) else next(found) for name in cls.get_attributes()]

    ImageOnly.__name__, ImageOnly.__qualname__ = cls.__name__, cls.__qualname__
    return ImageOnly


def _absent(attribute: str) -> bool:
    return "video" in attribute or attribute == "feature_extractor"


class _Absent:
    """A video processor that is not there; some processors read its settings before they need one."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)

    def __bool__(self) -> bool:
        return False
