"""What a config does to each part of a model, and the settings that the answer leaves without effect."""

from typing import Literal

from apps.trainer.families import Family, Part
from kolm.errors import SpecError
from kolm.spec import VLMTrainConfig

Treatment = Literal["frozen", "lora", "full"]


def treatments_of(family: Family, config: VLMTrainConfig) -> dict[Part, Treatment]:
    """Resolve `parts` for a family.

    A projector that lives inside the vision tower is frozen with it, one outside is trained in full
    (DESIGN 3); after a warm-up it was trained in full too. An output head goes with a language tower that is
    trained in full. Raises SpecError for parts that the family does not have, and when nothing is trained.
    """
    _check_parts_exist(family, config)
    asked = config.parts
    projector = "full" if asked.projector == "warmup" else asked.projector
    if projector == "auto":
        outside = bool(family.projector) and not family.projector_inside_vision
        projector = "full" if outside else "frozen"
    found: dict[Part, Treatment] = {
        "vision": asked.vision,
        "projector": projector,
        "language": asked.language,
        "audio": asked.audio,
        "head": "full" if asked.language == "full" else "frozen",
    }
    if set(found.values()) == {"frozen"}:
        raise SpecError("train.parts: every part is frozen", hint="train at least one part")
    _check_effect(found, config)
    return found


def _check_parts_exist(family: Family, config: VLMTrainConfig) -> None:
    """Refuse to train a part that the family does not have, such as the vision tower of a text model."""
    for part in ("vision", "projector", "audio"):
        treatment = getattr(config.parts, part)
        if not getattr(family, part) and treatment not in ("frozen", "auto"):
            raise SpecError(
                f"train.parts.{part}: {treatment}, but models of the family {family.name} have no such part",
                hint=f"remove parts.{part}",
            )


def _check_effect(found: dict[Part, Treatment], config: VLMTrainConfig) -> None:
    """Refuse settings that would change nothing. Raises SpecError."""
    if config.projector_lr is not None and found["projector"] == "frozen":
        raise SpecError(
            "train.projector_lr has no effect: the projector is frozen",
            hint="remove it, or set train.parts.projector: full",
        )
    if config.method in ("rslora", "dora", "qlora") and "lora" not in found.values():
        raise SpecError(
            f"train.method: {config.method} has no effect: no part gets adapters",
            hint="set a part to lora, or train.method: full",
        )
    if config.parts.projector == "warmup" and list(found.values()).count("frozen") == len(found) - 1:
        raise SpecError(
            "train.parts.projector: warmup, but nothing is trained after the warm-up",
            hint="set train.parts.projector: full",
        )
