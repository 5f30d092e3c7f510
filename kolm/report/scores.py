"""The scores of a report: conditions of the gate, what each model reached, slices, and steadiness."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from kolm.predicates import Axis, Condition, KScore
from kolm.schema import Count, read_model

CONDITIONS = {
    "k_lower": "lower bound of K",
    "accuracy_lower": "lower bound of the accuracy",
    "gain_over_base": "gain over the base, lower bound above",
    "image_gain": "gain over grey or wrong images, lower bound above",
    "coverage": "share of usable answers",
    "no_leak": "eval pictures, questions and groups that were trained on",
    "no_near_duplicate": "pairs of look-alike pictures that nobody has reviewed",
    "frozen_unchanged": "frozen parameters that changed",
    "enough_rows": "rows of the eval pack",
    "enough_per_slice": "independent rows of the smallest slice",
}
"""What each condition of the gate compares."""

MODELS = {
    "base": "base model",
    "tuned": "tuned model",
    "perturbed": "tuned, perturbed questions",
    "grey": "tuned, grey images",
    "shuffled": "tuned, wrong images",
}
"""Whose answers stand under each name of `eval/rows.jsonl`, in the order in which they are shown."""

AXES = {
    "A": "accuracy",
    "S": "size against the base",
    "L": "latency within the budget",
    "C": "arithmetic against the base",
    "V": "usable answers",
}

EVIDENCE = {
    "recomputable": "recomputed by kolm verify",
    "attested": "signed only",
    "absent": "absent",
}

CHANGES = {
    "jpeg": "pictures as JPEG of quality 90",
    "resize": "pictures 2 % smaller",
    "space": "white space around the prompt",
}
"""What each perturbation does to a question."""

TESTS = {"mcnemar": "McNemar's exact test", "sign-flip": "sign flips of whole clusters"}
"""Where the p-value of a gain comes from."""

FEW = 30
"""Slices with fewer rows say too little to be compared."""

MANY_ATTEMPTS = 5
"""From here on the best of many tries on one pack is likely to be luck."""

LONGEST = 200
"""Characters shown of a value whose form is not known."""


class _Open(BaseModel):
    """A part of the accuracy: what is shown of it is typed, what else it holds is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Measure(_Open):
    """A number with its interval and, for a gain, its test."""

    value: float | None = None
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    p: float | None = None
    p_holm: float | None = None
    test: str = ""


class SliceMeans(_Open):
    """One slice: its rows, the means of both models, the tuned model's interval, and its gain."""

    n: Count
    base: float | None = None
    tuned: float | None = None
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    gain: Measure | None = None

    @property
    def few(self) -> bool:
        """Whether the slice has too few rows to be compared."""
        return self.n < FEW


class Steady(_Open):
    """The share of rows whose score one kind of small change left as it was."""

    n: Count
    value: float


class Consistency(_Open):
    """Steadiness under every kind of small change."""

    by: dict[str, Steady] = Field(default_factory=dict)


class Accuracy(_Open):
    """The member `accuracy` of a K-score document (specs/formats/kscore.md 5), as far as it is shown."""

    base: Measure | None = None
    tuned: Measure | None = None
    perturbed: Measure | None = None
    grey: Measure | None = None
    shuffled: Measure | None = None
    gain: Measure | None = None
    image_gain: Measure | None = None
    consistency: Consistency | None = None
    slices: dict[str, SliceMeans] = Field(default_factory=dict)

    @property
    def models(self) -> dict[str, Measure]:
        """What was reached by every model that was asked, by its words."""
        return {words: found for key, words in MODELS.items() if (found := getattr(self, key)) is not None}

    @property
    def steadiness(self) -> dict[str, Steady]:
        """Steadiness by the words for each kind of small change; empty where nobody asked."""
        stated = self.consistency.by if self.consistency else {}
        return {CHANGES.get(kind, kind): steady for kind, steady in stated.items()}


@dataclass(frozen=True)
class Judged:
    """One condition of the gate in words."""

    id: str
    words: str
    state: str
    """`ok`, `fails`, `too few` or `n/a`."""
    required: str
    observed: str


@dataclass(frozen=True)
class AxisShown:
    """One axis of K in words."""

    letter: str
    name: str
    value: float | None
    norm: str
    evidence: str


def accuracy_of(k: KScore) -> Accuracy:
    """Return the accuracy of a K-score document. Raises ArtifactError (E_SCHEMA)."""
    return read_model(Accuracy, k.accuracy, what="k_score.accuracy")


def judged(k: KScore) -> list[Judged]:
    """Return the conditions of the gate, failing ones first."""
    ordered = sorted(k.gate.conditions, key=lambda c: {False: 0, True: 1, None: 2}[c.ok])
    return [
        Judged(c.id, CONDITIONS.get(c.id, c.id), _state(c), written(c.required), _observed(c))
        for c in ordered
    ]


def axes_of(k: KScore) -> list[AxisShown]:
    """Return the axes in the order of the formula."""
    found: Mapping[Any, Axis] = k.axes
    return [
        AxisShown(letter, name, axis.value, axis.norm, EVIDENCE.get(axis.evidence, axis.evidence))
        for letter, name in AXES.items()
        if (axis := found.get(letter))
    ]


def gate_line(k: KScore) -> float | None:
    """Return what the lower bound of K has to reach."""
    lines = [c.required for c in k.gate.conditions if c.id == "k_lower"]
    return float(lines[0]) if lines and isinstance(lines[0], int | float) else None


def written(value: Any) -> str:
    """Write a JSON value in short."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _state(condition: Condition) -> str:
    if condition.ok is None:
        return "n/a"
    if condition.ok:
        return "ok"
    return "too few" if condition.id.startswith("enough_") else "fails"


def _observed(condition: Condition) -> str:
    if condition.observed is None:
        return "" if condition.ok is None else "missing"
    return written(condition.observed)
