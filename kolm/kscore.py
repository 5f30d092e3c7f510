"""The K-score: from stored answers and measurements to K, its interval and its axes.

Everything is recomputed from `eval/rows.jsonl`, so anyone who has the artifact and the signed timings
gets the same document. specs/formats/kscore.md is the definition; `kolm.tally` counts, `kolm.axes`
normalises, `kolm.gate` judges the result.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kolm import axes, intervals
from kolm.canonical import round6
from kolm.gate import GateFacts, Thresholds, judge
from kolm.intervals import clusters_of
from kolm.metrics import get_metric
from kolm.tally import VARIANTS, CostModel, KInputs, Tally, Totals, tally

__all__ = ["CostModel", "GateFacts", "KInputs", "Thresholds", "clusters_of", "compute_k", "judge"]

Statistic = Callable[[Totals], float | None]


def compute_k(inputs: KInputs) -> dict[str, Any]:
    """Return the K-score document without gate and attempts. Raises DataError for unusable rows."""
    counted = tally(inputs)
    rounded = {
        name: None if value is None else round6(value)
        for name, value in _axes(counted.observed, inputs).items()
    }
    value = axes.weighted(rounded)
    interval = None if value is None else _bootstrap(counted, lambda totals: _k(totals, inputs))
    return {
        "definition": axes.DEFINITION,
        "value": value,
        "interval": interval,
        "axes": _axis_entries(rounded, counted.observed, inputs),
        "accuracy": _accuracy(counted, inputs),
        "other": {"k-score-1": _k_score_1(rounded, inputs), "latency": _latency(inputs)},
    }


def _axes(totals: Totals, inputs: KInputs) -> dict[str, float | None]:
    """Normalise one set of totals, observed or resampled; an axis that was not measured is None."""
    p95_ns = totals.get("p95_ns")
    base, tuned = _flop(totals, "base", inputs.cost), _flop(totals, "tuned", inputs.cost)
    sized = inputs.adapter_bytes > 0 and inputs.base_bytes > 0
    return {
        "A": _mean(totals, "tuned"),
        "S": axes.size_axis(inputs.adapter_bytes, inputs.base_bytes) if sized else None,
        "L": None if p95_ns is None else axes.latency_axis(p95_ns / 1e9, inputs.budget_latency_p95_s),
        "C": None if base is None or tuned is None else axes.cost_axis(base, tuned),
        "V": _coverage(totals, inputs),
    }


def _k(totals: Totals, inputs: KInputs) -> float | None:
    """Combine the axes of one replicate, unrounded."""
    values = _axes(totals, inputs)
    parts = [values[name] for name in axes.WEIGHTS]
    if None in parts:
        return None
    return math.fsum(w / 100 * v for w, v in zip(axes.WEIGHTS.values(), parts, strict=True) if v is not None)


def _mean(totals: Totals, variant: str, inside: str = "") -> float | None:
    """Return the mean score of an output over all rows, or over one slice."""
    n = totals[f"n{inside}"]
    if n == 0 or f"score:{variant}" not in totals:
        return None
    return totals[f"score:{variant}{inside}"] / (n * axes.MICRO)


def _flop(totals: Totals, variant: str, cost: CostModel) -> int | None:
    """Estimate the arithmetic of all calls: two operations per parameter and token, or patch."""
    if f"tokens:{variant}" not in totals:
        return None
    params = cost.language_params + (cost.added_params if variant != "base" else 0)
    tokens = totals["prompt"] + totals[f"tokens:{variant}"]
    return 2 * params * tokens + 2 * cost.vision_params * totals["patches"]


def _coverage(totals: Totals, inputs: KInputs) -> float | None:
    """Average the share of usable answers over slices; a declared slice without rows counts 0.

    A slice that has rows, none of which were drawn in a replicate, says nothing in that replicate.
    """
    if "score:tuned" not in totals:
        return None
    present = {row["slice"] for row in inputs.rows}
    names = [name for name in inputs.slices if totals[f"n:{name}"] or name not in present]
    return math.fsum(totals[f"usable:{name}"] / max(1, totals[f"n:{name}"]) for name in names) / len(names)


def _bootstrap(counted: Tally, statistic: Statistic) -> list[float] | None:
    """Return the percentile interval of a statistic over the replicates that have it."""
    values = [value for totals in counted.replicates if (value := statistic(totals)) is not None]
    if not values:
        return None
    return [round6(bound) for bound in intervals.percentile_interval(np.array(values))]


def _axis_entries(values: Mapping[str, float | None], totals: Totals, inputs: KInputs) -> dict[str, Any]:
    """Write out each axis: value, raw measurement, unit, normalisation and how it can be checked."""
    raw = {
        "A": (_mean(totals, "tuned"), "score", "identity", "recomputable"),
        "S": (
            {"adapter_bytes": inputs.adapter_bytes, "base_bytes": inputs.base_bytes},
            "bytes",
            "log-ratio",
            "recomputable",
        ),
        "L": (
            {"p95_s": totals.get("p95_ns", 0) / 1e9, "budget_s": inputs.budget_latency_p95_s},
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
        "V": (_coverage(totals, inputs), "share", "slice-mean", "recomputable"),
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
    flop = _flop(totals, variant, inputs.cost)
    return None if flop is None else flop / totals["n"] / 1e9


def _accuracy(counted: Tally, inputs: KInputs) -> dict[str, Any]:
    """Write out the mean score of every output, and what the tuned model gained."""
    slices = {name: _slice(counted, inputs, f":{name}") for name in inputs.slices}
    means = [m for name in slices if (m := _mean(counted.observed, "tuned", f":{name}")) is not None]
    gain = _gain(counted, "base")
    if gain is not None and _binary(inputs):
        gain["mcnemar"] = _mcnemar(inputs)
    return {
        **{variant: _scored(counted, inputs, variant) for variant in VARIANTS},
        "gain": gain,
        "image_gain": _gain(counted, "grey"),
        "macro": round6(math.fsum(means) / len(means)) if means else None,
        "clusters": len(set(inputs.clusters)),
        "slices": slices,
    }


def _slice(counted: Tally, inputs: KInputs, inside: str) -> dict[str, Any]:
    """Write out one slice: rows, the mean of every output, the interval of the tuned one."""
    means = {variant: _mean(counted.observed, variant, inside) for variant in VARIANTS}
    entry: dict[str, Any] = {name: None if mean is None else round6(mean) for name, mean in means.items()}
    entry["n"] = counted.observed[f"n{inside}"]
    entry["interval"] = None if means["tuned"] is None else _interval(counted, inputs, "tuned", inside)
    return entry


def _scored(counted: Tally, inputs: KInputs, variant: str) -> dict[str, Any] | None:
    mean = _mean(counted.observed, variant)
    if mean is None:
        return None
    interval = _interval(counted, inputs, variant)
    return {"value": round6(mean), "interval": interval, "n": counted.observed["n"]}


def _interval(counted: Tally, inputs: KInputs, variant: str, inside: str = "") -> list[float] | None:
    """Return the interval of a mean score (specs/formats/kscore.md 5.3).

    Independent binary scores: Wilson. Binary scores in clusters: what Wilson and the cluster bootstrap
    cover together. Graded scores: the cluster bootstrap.
    """
    resampled = _bootstrap(counted, lambda totals: _mean(totals, variant, inside))
    if not _binary(inputs) or resampled is None:
        return resampled
    n = counted.observed[f"n{inside}"]
    low, high = intervals.wilson(counted.observed[f"score:{variant}{inside}"] / axes.MICRO, n)
    if len(set(inputs.clusters)) < len(inputs.rows):
        low, high = min(low, resampled[0]), max(high, resampled[1])
    return [round6(low), round6(high)]


def _binary(inputs: KInputs) -> bool:
    return all(get_metric(name).binary for name in set(inputs.metric_ids))


def _gain(counted: Tally, over: str) -> dict[str, Any] | None:
    """Return the paired difference of the tuned model to another output, with its interval."""

    def difference(totals: Totals) -> float | None:
        tuned, other = _mean(totals, "tuned"), _mean(totals, over)
        return None if tuned is None or other is None else tuned - other

    observed = difference(counted.observed)
    if observed is None:
        return None
    return {"value": round6(observed), "interval": _bootstrap(counted, difference)}


def _mcnemar(inputs: KInputs) -> dict[str, Any]:
    """Count the rows that were fixed and broken, with the exact p of that split."""
    pairs = [(row["outputs"]["base"]["score"], row["outputs"]["tuned"]["score"]) for row in inputs.rows]
    fixed = sum(tuned > base for base, tuned in pairs)
    broken = sum(tuned < base for base, tuned in pairs)
    return {"fixed": fixed, "broken": broken, "p": round6(intervals.mcnemar(fixed, broken))}


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
    """Return the median times of both models, measured in one session, and their ratio."""
    base, tuned = (
        None if ns is None else intervals.quantile(ns, 500) / 1e9 for ns in (inputs.base_ns, inputs.tuned_ns)
    )
    ratio = tuned / base if base and tuned is not None else None
    found = {"base_p50_s": base, "tuned_p50_s": tuned, "tuned_over_base": ratio}
    return {name: None if value is None else round6(value) for name, value in found.items()}
