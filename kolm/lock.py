"""`spec.lock.json`: everything that changes an output byte, resolved before training.

The format is specs/formats/artifact.md 4. What the spec gives stands here as given; what it leaves open
stands here as it was chosen, so that nothing about a compile is decided by a default nobody wrote down.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from kolm.modules import Part, Servable, Treatment
from kolm.schema import Closed, Count, Hex


class BaseFile(Closed):
    """One file of the base model."""

    path: str
    """Relative to the base's root, with `/`."""
    sha256: Hex
    bytes: Count


class Base(Closed):
    """The base model that the adapter belongs to."""

    model: str
    """Hub id or name, as the spec gives it."""
    revision: str | None
    licence: str | None
    files: list[BaseFile]


class LockedSeed(Closed):
    """The seed the spec asks for and the one training uses (specs/formats/trainlog.md 3)."""

    spec: Count
    effective: Count


class LockedGate(Closed):
    """Thresholds of the gate that the spec sets."""

    k: float


class LockedBudget(Closed):
    """What an answer may cost."""

    latency_p95_s: Annotated[float, Field(gt=0)]


class LockedEval(Closed):
    """How the eval is judged."""

    min_accuracy: float
    gate: LockedGate
    budget: LockedBudget
    seed: Count


class LockedCost(Closed):
    """Parameter counts that the C axis multiplies with token counts."""

    language_params: Count
    added_params: Count
    vision_params: Count


class LockedGeneration(Closed):
    """How answers are decoded."""

    max_new_tokens: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    """Most rows asked at once that the spec and the base's family allow."""
    greedy: bool


class LockedProcessor(Closed):
    """What turns images and text into tensors."""

    class_: str = Field(alias="class")
    """Of the processor; of the tokenizer where the base is text-only."""
    image_processor: str | None
    """Null exactly where the base is text-only."""
    backend: Literal["pil", "torchvision"] | None
    """What decodes and resizes pictures; null where there is no image processor."""
    size: dict[str, int]
    min_pixels: int | None
    max_pixels: int | None


class LockedChoices(Closed):
    """What the spec left open, and what was chosen."""

    device: Literal["cpu", "cuda", "mps"]
    """Where it was trained."""
    dtype: str
    """Type the weights were loaded in, as torch spells it."""
    keep: Literal["best", "last"]
    """Which weights were kept."""
    parts: dict[Part, Treatment]
    """What happens to each part that the base has."""
    servable_as: Servable
    stands: dict[str, list[str]]
    """For each word of `lora_targets` the names of layers that it meant in this model."""


class Lock(Closed):
    """`spec.lock.json`: everything that changes an output byte, resolved."""

    kind: Literal["kolm-lock/1"]
    base: Base
    seed: LockedSeed
    config: dict[str, Any]
    """The whole trainer configuration, defaults included."""
    targets: list[str]
    """Full names of the modules that carry LoRA factors, sorted."""
    target_parameters: list[str]
    """Full names of the 3-D parameters (experts of a mixture) that carry LoRA factors, sorted."""
    processor: LockedProcessor
    metrics: dict[str, str]
    """Metric id of each slice of the eval pack."""
    generation: LockedGeneration
    eval: LockedEval
    cost: LockedCost
    resolved: LockedChoices
    versions: dict[str, Annotated[str, Field(min_length=1)]]
