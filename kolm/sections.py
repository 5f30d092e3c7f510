"""The sections of a spec, apart from `train`: base, data, generation, eval and where things go.

Each field carries its meaning and unit below it; `kolm schema` prints them.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from kolm.trainconfig import Section


def _relative(ref: str) -> str:
    """Refuse places that only exist on one machine: the spec travels inside the artifact, verbatim."""
    if not ref:
        raise PydanticCustomError("place", "a path relative to the spec")
    if ref.startswith(("/", "~", "\\")) or re.match(r"[A-Za-z]:[\\/]", ref) or ref.startswith("file:"):
        raise PydanticCustomError("place", "a path relative to the spec")
    return ref


Ref = Annotated[str, AfterValidator(_relative)]
Pixels = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Base(Section):
    """The model that is adapted."""

    model: Ref
    """A directory relative to the spec, or the id of a model on a hub, such as `org/name`."""
    revision: Annotated[str, Field(min_length=1)] | None = None
    """Branch, tag or commit of the hub model, resolved to a commit before anything is fetched; not given:
    its main branch. All 40 digits of a commit, in quotes, compile the same base again."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model, for families that transformers has no code for; of a hub
    model that is the code of one commit, so `revision` must be one."""


class Processor(Section):
    """Image size limits, in pixels (width times height)."""

    min_pixels: Pixels | None = None
    """Smaller images are scaled up to this."""
    max_pixels: Pixels | None = None
    """Larger images are scaled down to this."""

    @model_validator(mode="after")
    def _ordered(self) -> "Processor":
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            text = "`min_pixels` is larger than `max_pixels`"
            raise PydanticCustomError("contradiction", "{text}", {"at": ("min_pixels",), "text": text})
        return self


class Split(Section):
    """Rows taken out of the training rows, whole groups at a time."""

    validation: Annotated[float, Field(gt=0, lt=1)]
    """Share of the training rows that becomes validation rows."""


class Data(Section):
    """The pairs: a file relative to the spec, or `capture://NAMESPACE@CID`."""

    train: Ref
    """Training rows."""
    validation: Ref | None = None
    """Validation rows: losses during training, and the choice of the best weights."""
    eval: Ref
    """The eval pack (`pack.yaml`) that the gate is judged on."""
    split: Split | None = None
    """Take validation rows out of the training rows instead."""
    reviewed: Ref | None = None
    """JSON Lines file of verdicts on near duplicates; `kolm leaks SPEC --out FILE` writes what to review."""

    @model_validator(mode="after")
    def _one_source(self) -> "Data":
        if self.validation is not None and self.split is not None:
            text = "`data.validation` and `data.split` are both given: choose one"
            raise PydanticCustomError("contradiction", "{text}", {"at": ("split",), "text": text})
        return self


class Generation(Section):
    """How answers are generated; gated evaluation is greedy."""

    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] = 32
    """Longest answer, in tokens."""
    batch: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Most questions asked at once; auto: 32, or 1 for a family not shown to answer the same in batches.
    Fewer are asked when they are long: together no more than 16,384 tokens, answers included."""
    temperature: Annotated[float, Field(ge=0, le=0)] = 0
    """0: greedy. Nothing else is allowed, because a sampled score cannot be repeated."""


class Gate(Section):
    """What the K-score must reach."""

    k: Share = 0.85
    """Least lower 95 % bound of K."""


class Budget(Section):
    """What a call may cost."""

    latency_p95_s: Annotated[float, Field(gt=0)] = 1.0
    """Seconds within which 95 % of the answers must be there."""


class Eval(Section):
    """How the result is judged."""

    metric: dict[str, str] = Field(default_factory=dict)
    """Metric id per slice of the pack, such as `{read: exact@1}`; not given: the pack's own."""
    min_accuracy: Share
    """Least lower 95 % bound of the accuracy. There is no default: say what the task needs."""
    gate: Gate = Gate()
    """What the K-score must reach."""
    budget: Budget = Budget()
    """What a call may cost."""
    seed: Annotated[int, Field(ge=0, lt=1 << 53)] = 0
    """Seed of the resampling behind every interval."""


class Backend(Section):
    """Where the training runs."""

    type: Literal["local", "accelerate", "ray"] = "local"
    """local: in this process."""


class Sign(Section):
    """Who signs the receipt."""

    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "default"
    """Name of a key of `kolm key list`."""


class Registry(Section):
    """Where the result is pushed."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    """Address of a registry."""
