"""The module manifest: every parameter once, with its part, its state, its digests and its origin.

The format is specs/formats/modules.md. Names are parameter names of the unwrapped base model in
memory, without the leading `model.`, PEFT's wrappers, the adapter's name, or the trailing `.weight`
of LoRA factors. A manifest is written from what a live model was seen to be, never from a config.
"""

import math
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kolm.canonical import canonical_json, parse_canonical
from kolm.errors import VerificationError
from kolm.globs import expand, summarise
from kolm.names import MAGNITUDE, adapted_by
from kolm.schema import Closed, Count, Hex, read_model

Part = Literal["vision", "projector", "language", "audio", "head"]
"""Which part of the model a parameter belongs to; each belongs to exactly one."""

State = Literal["frozen", "trainable"]

Treatment = Literal["frozen", "lora", "full"]
"""What was done to a part: nothing, factors added beside it, or its own parameters trained."""

Servable = Literal["lora", "lora+connector", "merged"]
"""How a result can be served: as an adapter of the language tower; as one that also reaches the projector or
the vision tower; or only merged into the base, since engines that take LoRA refuse modules that were trained
in full, DoRA's magnitudes and factors of 3-D expert weights."""

Relation = Literal["identical", "cast", "stacked", "quantised", "tied", "absent"]
"""How a parameter's first value came from the base's files; `absent` means it is not in them."""


class Origin(Closed):
    """Where a parameter's value came from."""

    file: str | None
    """File of the base, relative to its root; null when the relation is `absent`."""
    key: str | None
    """Name of the tensor in that file."""
    relation: Relation

    @model_validator(mode="after")
    def _named(self) -> Self:
        if {self.file is None, self.key is None} != {self.relation == "absent"}:
            raise ValueError("file and key are null exactly for what is not in the base's files")
        return self


class Gradient(Closed):
    """What training did to a trainable parameter."""

    seen: bool
    """Whether a non-zero gradient reached it at least once."""
    max_norm: Annotated[float, Field(ge=0)]
    """Largest L2 norm of its gradient over all steps, before clipping."""


class Tensor(Closed):
    """What parameters and buffers have in common."""

    name: str
    shape: list[Count]
    dtype: str
    """As torch spells it: `float32`, `bfloat16`, `uint8`."""
    part: Part
    base: Origin

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class Parameter(Tensor):
    """One parameter of the live model."""

    state: State
    before: Hex | None
    """SHA-256 of the raw little-endian bytes before training; null for one that training added."""
    after: Hex
    """The same, after training."""
    gradient: Gradient | None
    """Null for frozen parameters: they never had one."""

    @property
    def elements(self) -> int:
        """How many weights it holds: bitsandbytes packs two of 4 bits into a byte, others are one each."""
        return super().elements * (2 if self.dtype == "uint8" else 1)


class Buffer(Tensor):
    """One buffer of the live model; buffers are not trained."""

    before: Hex
    after: Hex


class ModuleManifest(Closed):
    """All parameters and buffers of one compiled model, and the two short lists that stand for them."""

    kind: Literal["kolm-modules/1"]
    family: str
    model_type: str
    parameters: list[Parameter]
    buffers: list[Buffer]
    frozen_modules: list[str]
    trainable_modules: list[str]

    @classmethod
    def of(
        cls, *, family: str, model_type: str, parameters: list[Parameter], buffers: list[Buffer]
    ) -> "ModuleManifest":
        """Build a manifest from observed parameters; the two short lists are derived, vision first."""
        ordered = sorted(parameters, key=lambda p: p.part != "vision")
        frozen, trainable = summarise(
            [p.name for p in ordered if p.state == "frozen"],
            [p.name for p in ordered if p.state == "trainable"],
        )
        return cls(
            kind="kolm-modules/1",
            family=family,
            model_type=model_type,
            parameters=parameters,
            buffers=buffers,
            frozen_modules=frozen,
            trainable_modules=trainable,
        )

    @classmethod
    def parse(cls, data: bytes) -> "ModuleManifest":
        """Read the bytes of `modules.json`. Raises ArtifactError."""
        return read_model(cls, parse_canonical(data, what="modules.json"), what="modules.json")

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of `modules.json`."""
        return canonical_json(self.model_dump())

    @cached_property
    def frozen(self) -> list[str]:
        """Names of the frozen parameters, in the model's order."""
        return [p.name for p in self.parameters if p.state == "frozen"]

    @cached_property
    def trainable(self) -> list[str]:
        """Names of the trained parameters, in the model's order."""
        return [p.name for p in self.parameters if p.state == "trainable"]

    def size(self, *parts: Part, added: bool | None = None) -> int:
        """Count the elements of the parameters in these parts.

        `added=True` counts only those that training added, `added=False` only the base's own.
        """
        chosen = (p for p in self.parameters if p.part in parts)
        return sum(p.elements for p in chosen if added is None or (p.before is None) is added)

    def part_states(self) -> dict[str, list[str]]:
        """Return for each part the states seen in it: `{"vision": ["frozen"], ...}`."""
        seen: dict[str, set[str]] = {}
        for parameter in self.parameters:
            seen.setdefault(parameter.part, set()).add(parameter.state)
        return {part: sorted(states) for part, states in sorted(seen.items())}

    def treatments(self) -> dict[str, Treatment]:
        """Return for each part what was done to it: `{"language": "lora", "vision": "frozen"}`."""
        return {part: self._treatment(part) for part in self.part_states()}

    def _treatment(self, part: str) -> Treatment:
        trained = [p for p in self.parameters if p.part == part and p.state == "trainable"]
        if not trained:
            return "frozen"
        return "lora" if all(p.before is None for p in trained) else "full"

    @property
    def dtype(self) -> str:
        """Type of most of the base's weights as they were loaded, quantised ones aside; "" for none."""
        sizes: Counter[str] = Counter()
        for parameter in self.parameters:
            if parameter.before is not None and "int" not in parameter.dtype:
                sizes[parameter.dtype] += parameter.elements
        return max(sizes, key=lambda dtype: sizes[dtype], default="")

    @property
    def vision_frozen(self) -> bool:
        """Whether nothing in the vision tower was trained; so it is where there is none."""
        return self.treatments().get("vision", "frozen") == "frozen"

    @property
    def servable_as(self) -> Servable:
        """How the result can be served (specs/formats/modules.md 4)."""
        if "full" in self.treatments().values() or self.expert_parameters:
            return "merged"
        added = [p for p in self.parameters if p.before is None]
        if any(p.name.endswith(f".{MAGNITUDE}") for p in added):
            return "merged"
        return "lora" if all(p.part == "language" for p in added) else "lora+connector"

    @cached_property
    def expert_parameters(self) -> list[str]:
        """Names of the 3-D parameters that got LoRA factors of their own, in the model's order."""
        adapted = {adapted_by(p.name)[0] for p in self.parameters if p.before is None}
        return [p.name for p in self.parameters if p.name in adapted]

    @property
    def left_frozen(self) -> list[str]:
        """Names of the frozen parameters of parts that were trained in full."""
        full = {part for part, treatment in self.treatments().items() if treatment == "full"}
        return [p.name for p in self.parameters if p.part in full and p.state == "frozen"]

    @property
    def sees_images(self) -> bool:
        """Whether the model has anything that looks at images: a vision tower or a projector."""
        return any(p.part in ("vision", "projector") for p in self.parameters)

    def check(self) -> None:
        """Check that the manifest agrees with itself (specs/formats/modules.md 4).

        Raises VerificationError: E_MODULES_MISMATCH, E_FROZEN_CHANGED.
        """
        names = [p.name for p in self.parameters]
        held = Counter([*names, *(b.name for b in self.buffers)])
        repeated = [name for name, count in held.items() if count > 1]
        _require(not repeated, f"parameters or buffers listed twice: {_few(repeated)}")
        _require(expand(self.frozen_modules, names) == self.frozen, "frozen_modules is not the frozen list")
        _require(
            expand(self.trainable_modules, names) == self.trainable,
            "trainable_modules is not the trained list",
        )
        odd = [p.name for p in self.parameters if (p.gradient is None) != (p.state == "frozen")]
        _require(not odd, f"gradient and state disagree: {_few(odd)}")
        odd = [p.name for p in self.parameters if p.gradient and p.gradient.seen != (p.gradient.max_norm > 0)]
        _require(not odd, f"a gradient was seen and had no norm, or the other way round: {_few(odd)}")
        odd = [p.name for p in self.parameters if p.before is None and p.base.relation != "absent"]
        _require(not odd, f"added by training, and said to be in the base: {_few(odd)}")
        changed = self.changed()
        _require(not changed, f"changed although frozen: {_few(changed)}", check="E_FROZEN_CHANGED")

    def changed(self) -> list[str]:
        """Names of frozen parameters and of buffers whose digests before and after differ."""
        frozen = [p.name for p in self.parameters if p.state == "frozen" and p.before != p.after]
        return frozen + [b.name for b in self.buffers if b.before != b.after]


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    rest = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + rest


def _require(holds: bool, message: str, *, check: str = "E_MODULES_MISMATCH") -> None:
    if not holds:
        raise VerificationError(f"modules.json: {message}", check=check)
