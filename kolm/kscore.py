"""The K-score: from stored answers and measurements to K, its interval and its axes.

Everything is recomputed from `eval/rows.jsonl`, so anyone who has the artifact and the signed timings
gets the same document. specs/formats/kscore.md is the definition; `kolm.tally` counts, `kolm.axes`
normalises, `kolm.accuracy` compares the outputs, `kolm.gate` judges the result.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kolm import axes, intervals
from kolm.accuracy import Values, accuracy, bootstrap, mean_score, observed_value
from kolm.canonical import round6
from kolm.gate import GateFacts, Thresholds, judge
from kolm.intervals import clusters_of
from kolm.tally import CostModel, Ints, KInputs, Totals, tally

__all__ = ["CostModel", "GateFacts", "KInputs", "Thresholds", "clusters_of", "compute_k", "judge"]


def compute_k(inputs: KInputs) -> dict[str, Any]:
    """Return the K-score document without gate and attempts. Raises DataError for unusable rows."""
    counted = tally(inputs)
    measured = {name: observed_value(values) for name, values in _axes(counted.observed, inputs).items()}
    rounded = {name: None if value is None else round6(value) for name, value in measured.items()}
    value = axes.weighted(rounded)
    interval = None if value is None else bootstrap(counted, lambda totals: _k(totals, inputs))
    return {
        "definition": axes.DEFINITION,
        "value": value,
        "interval": interval,
        "axes": _axis_entries(rounded, counted.observed, inputs),
        "accuracy": accuracy(counted, inputs),
        "other": {"k-score-1": _k_score_1(rounded, inputs), "latency": _latency(inputs)},
    }


def _axes(totals: Totals, inputs: KInputs) -> dict[str, Values | None]:
    """Normalise totals, observed or resampled; an axis that was not measured is None."""
    base, tuned = _flop(totals, "base", inputs), _flop(totals, "tuned", inputs)
    sized = inputs.adapter_bytes > 0 and inputs.base_bytes > 0
    return {
        "A": mean_score(totals, "tuned"),
        "S": np.array([axes.size_axis(inputs.adapter_bytes, inputs.base_bytes)]) if sized else None,
        "L": _within_budget(totals["p95_ns"], inputs) if "p95_ns" in totals else None,
        "C": None if base is None or tuned is None else axes.cost_axis(base, tuned),
        "V": _coverage(totals, inputs),
    }


def _k(totals: Totals, inputs: KInputs) -> Values | None:
    """Combine the axes of each replicate, unrounded; one that drew no timed row has none."""
    values = _axes(totals, inputs)
    total = np.zeros(1)
    for name, weight in axes.WEIGHTS.items():
        axis = values[name]
        if axis is None:
            return None
        total = total + weight / 100 * axis
    return total


def _within_budget(p95_ns: Ints, inputs: KInputs) -> Values:
    """Return L of each 95 % point; few different ones occur, so each is normalised once."""
    points, place = np.unique(p95_ns, return_inverse=True)
    budget = inputs.budget_latency_p95_s
    found = [np.nan if ns < 0 else axes.latency_axis(ns / 1e9, budget) for ns in points.tolist()]
    return np.array(found)[place]


def _flop(totals: Totals, variant: str, inputs: KInputs) -> Values | None:
    """Estimate the arithmetic of all calls: two operations per parameter and token, or patch."""
    if f"tokens:{variant}" not in totals:
        return None
    params = inputs.cost.language_params + (inputs.cost.added_params if variant != "base" else 0)
    tokens = (totals["prompt"] + totals[f"tokens:{variant}"]).astype(np.float64)
    return 2 * params * tokens + 2 * inputs.cost.vision_params * totals["patches"].astype(np.float64)


def _coverage(totals: Totals, inputs: KInputs) -> Values | None:
    """Average the share of usable answers over slices; a declared slice without rows counts 0.

    A slice that has rows, none of which were drawn in a replicate, says nothing in that replicate.
    """
    if "score:tuned" not in totals:
        return None
    present = {row["slice"] for row in inputs.rows}
    shares, counted = np.zeros(1), np.zeros(1)
    for name in inputs.slices:
        n = totals[f"n:{name}"]
        shares = shares + totals[f"usable:{name}"] / np.maximum(1, n)
        counted = counted + (n > 0 if name in present else 1)
    return shares / counted


def _axis_entries(values: Mapping[str, float | None], totals: Totals, inputs: KInputs) -> dict[str, Any]:
    """Write out each axis: value, raw measurement, unit, normalisation and how it can be checked."""
    raw = {
        "A": (observed_value(mean_score(totals, "tuned")), "score", "identity", "recomputable"),
        "S": (
            {"adapter_bytes": inputs.adapter_bytes, "base_bytes": inputs.base_bytes},
            "bytes",
            "log-ratio",
            "recomputable",
        ),
        "L": (
            {
                "p95_s": int(totals["p95_ns"][0]) / 1e9 if "p95_ns" in totals else None,
                "budget_s": inputs.budget_latency_p95_s,
            },
            "s",
            "p95-within-budget",
            "attested",
        ),
        "C": (
            {name: _gflop(totals, name, inputs) for name in ("base", "tuned")},
            "GFLOP per call",
            "ratio-to-base",
            "recomputable",
        ),
        "V": (observed_value(_coverage(totals, inputs)), "share", "slice-mean", "recomputable"),
    }
    return {
        name: {
            "value": values[name],
            "raw": None if values[name] is None else _rounded(raw[name][0]),
            "unit": raw[name][1],
            "norm": raw[name][2],
            "evidence": "absent" if values[name] is None else raw[name][3],
        }
        for name in axes.WEIGHTS
    }


def _rounded(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {name: _rounded(value) for name, value in raw.items()}
    return round6(raw) if isinstance(raw, float) else raw


def _gflop(totals: Totals, variant: str, inputs: KInputs) -> float | None:
    flop = observed_value(_flop(totals, variant, inputs))
    return None if flop is None else flop / len(inputs.rows) / 1e9


def _k_score_1(values: Mapping[str, float | None], inputs: KInputs) -> dict[str, Any]:
    """Compute the published k-score-1 from the same measurements (specs/formats/kscore.md 4)."""
    p50_us = None if inputs.tuned_ns is None else intervals.quantile(inputs.tuned_ns, 500) / 1000
    found = {
        "A": values["A"],
        "S": axes.size_axis_1(inputs.adapter_bytes) if inputs.adapter_bytes > 0 else None,
        "L": None if p50_us is None else axes.latency_axis_1(p50_us),
        "C": axes.cost_axis_1(0),
        "V": values["V"],
    }
    rounded = {name: None if value is None else round6(value) for name, value in found.items()}
    total = axes.weighted(rounded)
    return {
        "value": None if total is None else round(total, 4),
        "axes": rounded,
        "cost": {"usd_per_call": 0, "evidence": "declared local"},
    }


def _latency(inputs: KInputs) -> dict[str, float | None]:
    """Return the median times of both models over the timed rows, and their ratio."""
    base, tuned = (
        None if ns is None else intervals.quantile(ns, 500) / 1e9 for ns in (inputs.base_ns, inputs.tuned_ns)
    )
    ratio = tuned / base if base and tuned is not None else None
    found = {"base_p50_s": base, "tuned_p50_s": tuned, "tuned_over_base": ratio}
    return {name: None if value is None else round6(value) for name, value in found.items()}
