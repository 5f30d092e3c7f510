"""The gate: from a K-score document and the facts of the run to PASS, FAIL or INCONCLUSIVE.

specs/formats/kscore.md 6. Ten conditions, each with what was required and what was observed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HARD = frozenset({"no_leak", "no_near_duplicate", "frozen_unchanged"})
"""Conditions that no number of rows can excuse."""

SIZES = frozenset({"enough_rows", "enough_per_slice"})
"""Conditions without which the scores decide nothing."""


@dataclass(frozen=True)
class GateFacts:
    """What the run observed apart from scores."""

    overlaps: int | None
    """Eval rows with a picture, with a declared group or, without pictures, with a question that is trained
    on; None: nobody looked for the questions."""
    near_duplicates: int | None
    """Pairs of a trained and an evaluated image that look alike and wait for review; None: nobody looked."""
    frozen_changed: int
    """Frozen parameters whose digest changed."""
    rows: int
    """Rows of the eval pack."""
    least_slice: int
    """Clusters of its smallest slice; a declared slice without rows has none."""
    text_only: bool = False
    """The base has no vision tower, so there is no image to take away."""
    trained_on_at_hand: bool = True
    """The training data can be looked at; without it, near duplicates and equal questions are not judged."""


@dataclass(frozen=True)
class Thresholds:
    """What the gate requires; every number is recorded in its conditions."""

    k: float
    """Least lower 95 % bound of K."""
    min_accuracy: float
    """Least lower 95 % bound of the tuned accuracy."""
    coverage: float = 0.95
    """Least V."""
    min_rows: int = 100
    """Fewest rows that a verdict can rest on."""
    min_slice_clusters: int = 30
    """Fewest clusters of any slice that a verdict can rest on."""


def judge(k: Mapping[str, Any], *, facts: GateFacts, thresholds: Thresholds) -> dict[str, Any]:
    """Return `{verdict, conditions}` for a K-score document."""
    accuracy = k["accuracy"]
    blind, sighted = accuracy["image_gain"], not facts.text_only
    comparable = sighted or facts.trained_on_at_hand or bool(facts.overlaps)
    conditions = [
        _at_least("k_lower", thresholds.k, _lower(k)),
        _at_least("accuracy_lower", thresholds.min_accuracy, _lower(accuracy["tuned"])),
        _above_zero("gain_over_base", _lower(accuracy["gain"])),
        _above_zero("image_gain", _lower(blind)) if sighted else _not_applicable("image_gain"),
        _at_least("coverage", thresholds.coverage, k["axes"]["V"]["value"]),
        _none("no_leak", facts.overlaps) if comparable else _not_applicable("no_leak"),
        _none("no_near_duplicate", facts.near_duplicates)
        if sighted and facts.trained_on_at_hand
        else _not_applicable("no_near_duplicate"),
        _none("frozen_unchanged", facts.frozen_changed),
        _at_least("enough_rows", thresholds.min_rows, facts.rows),
        _at_least("enough_per_slice", thresholds.min_slice_clusters, facts.least_slice),
    ]
    return {"verdict": _verdict(conditions), "conditions": conditions}


def _verdict(conditions: list[dict[str, Any]]) -> str:
    """Decide: a hard fact or a missing measurement fails; too few rows decide nothing else."""
    failed = {c["id"] for c in conditions if c["ok"] is False}
    missing = any(c["ok"] is False and c["observed"] is None for c in conditions)
    if failed & HARD or missing:
        return "FAIL"
    if failed & SIZES:
        return "INCONCLUSIVE"
    return "FAIL" if failed else "PASS"


def _lower(measured: Mapping[str, Any] | None) -> float | None:
    """Return the lower bound of a measurement, or None if it was not taken."""
    if measured is None or measured["interval"] is None:
        return None
    bound: float = measured["interval"][0]
    return bound


def _condition(name: str, required: object, observed: object, ok: bool | None) -> dict[str, Any]:
    return {"id": name, "required": required, "observed": observed, "ok": ok}


def _at_least(name: str, required: float, observed: float | None) -> dict[str, Any]:
    return _condition(name, required, observed, observed is not None and observed >= required)


def _above_zero(name: str, observed: float | None) -> dict[str, Any]:
    return _condition(name, 0, observed, observed is not None and observed > 0)


def _none(name: str, observed: int | None) -> dict[str, Any]:
    return _condition(name, 0, observed, observed == 0)


def _not_applicable(name: str) -> dict[str, Any]:
    return _condition(name, None, None, None)
