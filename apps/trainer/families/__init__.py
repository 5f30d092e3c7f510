"""What kolm knows of each model family, one data file per family.

A new family is a new file here with one value, `FAMILY`; nothing else needs to change.
`python -m apps.trainer.families DIR` prints the module tree of a base to write it from.
"""

import difflib
import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from kolm.errors import SpecError, UnknownFamilyError

Part = Literal["vision", "projector", "language", "audio", "head"]


@dataclass(frozen=True)
class ImageCost:
    """What the images of one row cost: both are counts."""

    tokens: int
    """Feature rows the language model receives; equals the placeholders in `input_ids`."""
    patches: int
    """Patches the vision tower works on."""


def no_images(batch: Mapping[str, Any], config: Any) -> ImageCost:
    """Cost of a model that sees no images."""
    return ImageCost(tokens=0, patches=0)


@dataclass(frozen=True)
class Family:
    """One family of models: where its parts lie and what its batches hold.

    Module paths are names in memory without the leading `model.`; the longest match wins, so a
    projector inside a vision tower is told apart from it.
    """

    name: str
    model_types: tuple[str, ...]
    """`model_type` values of config.json that belong here."""
    ids: tuple[str, ...]
    """Patterns (Python regular expressions, case ignored) of hub ids, for when no config is at hand."""
    language: tuple[str, ...]
    head: tuple[str, ...]
    papers: tuple[str, ...]
    """arXiv ids of the model and of the recipe it is tuned by."""
    vision: tuple[str, ...] = ()
    projector: tuple[str, ...] = ()
    """Modules and bare parameters (LLaVA-NeXT's `image_newline`) between the tower and the language model."""
    audio: tuple[str, ...] = ()
    """Audio towers and their projectors; they stay frozen."""
    image_cost: Callable[[Mapping[str, Any], Any], ImageCost] = no_images
    """(processor output of one row, model config) -> what its images cost."""
    trainer: Literal["vlm", "text"] = "vlm"
    loader: str = "AutoModelForImageTextToText"
    """Class of transformers that builds the model, or `AutoModel...` of the repository's own code."""
    config_part: str | None = None
    """Attribute of the config that the loader takes, such as `thinker_config`; None: the whole config."""
    code: Literal["transformers", "repository", "none"] = "transformers"
    """Whose code the model runs on. Paths of the other two were never compared with a live model here."""
    stands_for: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Leaf names that one of the usual seven LoRA names stands for where layers are fused or named
    otherwise: `{"q_proj": ("qkv_proj",)}`."""
    required_inputs: tuple[str, ...] = ()
    """Keys the processor must return with an image; without one the model degrades silently."""
    image_texts: tuple[str, ...] = ()
    """Literal strings that stand for images or parts of them and that no text may hold, beside those that
    the processor names itself."""
    mixes_text: bool = True
    """Whether rows with and without images may share a batch."""
    labels: Literal["causal", "decoder", "decoder_prompt", "drawn"] = "causal"
    """Where question and answer stand. `causal`: one behind the other in `input_ids`. `decoder`: the question
    in the encoder's, the answer in the decoder's sequence. `decoder_prompt`: both in the decoder's, the
    encoder sees one image. `drawn`: the question is drawn on the image, which cannot be trained."""
    image_place: str = ""
    """Text that an image stands in for, in families without a chat template; empty where the processor
    puts it there."""
    needs: tuple[str, ...] = ()
    """Packages without which its processor or tower does not load, such as `torchvision`."""
    batches: Literal["alone", "equal", "padded"] = "alone"
    """Which questions may be asked at once without changing an answer, as tests found: `alone` none, `equal`
    those whose inputs have the same shapes, `padded` also those of other lengths, padded on the left."""
    pixel_limits: bool = False
    """Whether the image processor scales to `min_pixels` and `max_pixels`; the others have one fixed size."""

    def part_of(self, name: str) -> Part | None:
        """Return the part that owns a parameter or module of this (plain) name, or None."""
        best: tuple[int, Part] | None = None
        for part in ("vision", "projector", "language", "audio", "head"):
            for path in getattr(self, part):
                if name == path or name.startswith(f"{path}."):
                    best = max(best or (0, part), (len(path), part))
        return best[1] if best else None

    @property
    def checked(self) -> bool:
        """Whether its paths were compared with a live model: tests do so for what transformers ships."""
        return self.code == "transformers"

    @property
    def sees_images(self) -> bool:
        """Whether its models look at images; the others are text-only."""
        return self.trainer == "vlm"

    @property
    def projector_inside_vision(self) -> bool:
        """Whether the projector lies inside the vision module, as Qwen's merger does."""
        return bool(self.projector) and all(
            any(p.startswith(f"{v}.") for v in self.vision) for p in self.projector
        )


@cache
def families() -> tuple[Family, ...]:
    """Return every family, in the order of their names."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    return tuple(sorted((m.FAMILY for m in modules if hasattr(m, "FAMILY")), key=lambda f: f.name))


def family_of(model: str | Path) -> Family:
    """Return the family of a base: by its `config.json` when it is a directory, else by its hub id.

    Raises UnknownFamilyError; SpecError when a directory holds no readable config.json.
    """
    if isinstance(model, Path):
        model_type = read_model_type(model)
        return _only([f for f in families() if model_type in f.model_types], model_type)
    claims = [f for f in families() if any(re.search(p, model, re.IGNORECASE) for p in f.ids)]
    return _only(claims, model)


def read_model_type(directory: Path) -> str:
    """Return `model_type` of a checkpoint's config.json. Raises SpecError."""
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise SpecError(
            f"{directory} is not a model checkpoint: {path.name} is missing or has no model_type",
            hint="base.model is a folder with config.json and safetensors, or a hub id",
        ) from err


def _only(claims: list[Family], wanted: str) -> Family:
    if len(claims) == 1:
        return claims[0]
    if claims:
        names = ", ".join(f.name for f in claims)
        raise UnknownFamilyError(
            f"{wanted!r} is claimed by more than one family: {names}",
            hint="name a folder that holds the checkpoint: its config.json decides",
        )
    known = [name for f in families() for name in (f.name, *f.model_types)]
    near = difflib.get_close_matches(wanted.split("/")[-1].lower(), known, n=3, cutoff=0.3)
    raise UnknownFamilyError(
        f"no trainer knows the model {wanted!r}",
        hint=f"nearest known families: {', '.join(dict.fromkeys(near))}"
        if near
        else "`kolm models` lists the known families",
    )
