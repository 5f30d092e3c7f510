"""Find a base and load it: the only place that calls `from_pretrained`."""

import contextlib
import json
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.trainer.families import Family, family_of, read_model_type
from kolm.cid import sha256_hex, sha256_hex_of_file
from kolm.errors import KolmError, SpecError, TrainError
from kolm.files import home, make_folder, write_atomic
from kolm.spec import VLMTrainConfig
from kolm.tensors import read_header

PROCESSOR_FILES = (
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
"""Files of a checkpoint that turn images and text into tensors; they travel in the artifact."""

_WEIGHTS = "*.safetensors"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Base:
    """A base model that is on this disk."""

    model: str
    """As the spec names it: a folder relative to the spec, or a hub id."""
    revision: str | None
    """Commit of the hub repository; null for a folder."""
    licence: str | None
    directory: Path
    files: tuple[dict[str, Any], ...]
    """`{path, sha256, bytes}` of every file that loading may read, sorted by path."""
    family: Family
    model_type: str
    """`model_type` of config.json."""

    @property
    def identity(self) -> dict[str, Any]:
        """What an artifact's manifest says of its base."""
        return {
            "model": self.model,
            "revision": self.revision,
            "licence": self.licence,
            "files": [dict(entry) for entry in self.files],
        }


def find_base(source: Path | str, *, model: str, revision: str | None = None) -> Base:
    """Return a base: a folder, or a hub id fetched into the cache. `model` is how the spec names it.

    Raises SpecError for a revision that does not name one state of the base, UnknownFamilyError before
    anything is fetched, TrainError when a hub repository cannot be had.
    """
    if isinstance(source, Path) and revision:
        raise SpecError("base.revision is for hub models; a folder is named by its files", hint="remove it")
    if revision and not _COMMIT.fullmatch(revision):
        raise SpecError(f"base.revision {revision!r} is not a commit", hint="give all 40 digits, in quotes")
    if isinstance(source, Path):
        return describe(source, model=model, revision=None)
    family_of(source)
    directory = _snapshot(source, revision)
    return describe(directory, model=model, revision=directory.name)


def describe(directory: Path, *, model: str, revision: str | None) -> Base:
    """Read what a checkpoint folder holds and hash every file that loading may read."""
    family = family_of(directory)
    wanted = {"config.json", "generation_config.json", *PROCESSOR_FILES}
    paths = [
        p for p in directory.iterdir() if p.name in wanted or p.match(_WEIGHTS) or p.match("*.index.json")
    ]
    if not any(p.match(_WEIGHTS) for p in paths):
        raise SpecError(
            f"{directory} holds no safetensors weights",
            hint="kolm reads safetensors only; convert the checkpoint first",
        )
    files = [
        {"path": p.name, "sha256": sha256_hex_of_file(p), "bytes": p.stat().st_size}
        for p in sorted(paths, key=lambda p: p.name)
    ]
    return Base(
        model=model,
        revision=revision,
        licence=_licence(directory),
        directory=directory,
        files=tuple(files),
        family=family,
        model_type=read_model_type(directory),
    )


def _licence(directory: Path) -> str | None:
    """Read `license:` from the model card's YAML front matter; None when there is none."""
    card = directory / "README.md"
    if not card.is_file():
        return None
    front = card.read_text(encoding="utf-8", errors="replace").split("---")
    lines = front[1].splitlines() if len(front) > 2 else []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("license:")]
    return found[0] if found else None


def _snapshot(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    patterns = [
        "config.json",
        "generation_config.json",
        "README.md",
        _WEIGHTS,
        "*.index.json",
        *PROCESSOR_FILES,
    ]
    hint = "base.model may be a local folder; a gated model needs HF_TOKEN"
    with translated(f"base model {model} could not be fetched", hint=hint):
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))


def remember_base(base: Base) -> None:
    """Note where this base lies, so that `kolm run` finds it by its file digests."""
    note = _note(base.identity)
    make_folder(note.parent)
    write_atomic(note, str(base.directory.resolve()).encode())


def recall_base(identity: dict[str, Any], *, directory: Path | None = None) -> Base:
    """Return the base an artifact was compiled from, checked file by file.

    `directory` is where to look; without it, the folder noted at compile time, then the hub.
    Raises TrainError when it is not there or its files differ.
    """
    note = _note(identity)
    if directory is None and note.is_file():
        directory = Path(note.read_text(encoding="utf-8"))
    if directory is not None and directory.is_dir():
        base = describe(directory, model=identity["model"], revision=identity["revision"])
    elif identity["revision"]:
        base = find_base(identity["model"], model=identity["model"], revision=identity["revision"])
    else:
        raise TrainError(
            f"the base model {identity['model']!r} is not on this machine",
            hint="name its folder with --base DIR",
        )
    changed = [a["path"] for a, b in zip(identity["files"], base.files, strict=False) if a != b]
    if changed or len(base.files) != len(identity["files"]):
        raise TrainError(
            f"{base.directory} is not the base this artifact was compiled from"
            + (f": {changed[0]} differs" if changed else ""),
            hint="name the right folder with --base DIR",
        )
    return base


def _note(identity: dict[str, Any]) -> Path:
    digests = "".join(entry["sha256"] for entry in identity["files"])
    return home() / "bases" / sha256_hex(digests.encode())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' and peft's progress bars and advice; errors still reach the caller."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def translated(failure: str, *, hint: str, error: type[KolmError] = TrainError) -> Iterator[None]:
    """Turn whatever transformers, torch, safetensors or a chat template raises into one of ours."""
    from huggingface_hub.errors import StrictDataclassError
    from jinja2 import TemplateError
    from safetensors import SafetensorError

    raised = (ImportError, OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)
    others = (AssertionError, StrictDataclassError, TemplateError, SafetensorError)
    try:
        with quiet():
            yield
    except (*raised, *others) as err:
        lines = str(err).strip().splitlines()
        raise error(f"{failure}: {lines[0] if lines else type(err).__name__}", hint=hint) from err


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
        math.prod(entry.shape) for path in directory.glob(_WEIGHTS) for entry in read_header(path).values()
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


def load_processor(directory: Path, *, min_pixels: int | None = None, max_pixels: int | None = None) -> Any:
    """Load the processor with Pillow as its image backend, without torchvision.

    Families whose processor insists on a video processor, which needs torchvision, get one that
    takes images only. Raises TrainError.
    """
    from transformers import AutoProcessor
    from transformers.utils import is_torchvision_available

    pixels = {"min_pixels": min_pixels, "max_pixels": max_pixels}
    options = {"backend": "pil", "local_files_only": True} | {
        k: v for k, v in pixels.items() if v is not None
    }
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
