"""What the outputs scored: means with intervals, gains with their tests, and how steady the answers are.

It is the member `accuracy` of the K-score document (specs/formats/kscore.md 5), for the whole pack and for
each slice. K takes the tuned mean from it and the gate the intervals.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kolm import intervals
from kolm.axes import MICRO
from kolm.canonical import round6
from kolm.metrics import get_metric
from kolm.tally import VARIANTS, KInputs, Tally, Totals, micro, sums_of_clusters

Values = npt.NDArray[np.float64]
"""One number per set of totals; NaN where nothing was drawn that it could be computed from."""

Statistic = Callable[[Totals], Values | None]


@dataclass(frozen=True)
class _Scope:
    """The rows that a number is about: all of them, or those of one slice."""

    suffix: str
    """End of the names of its totals."""
    rows: Sequence[Mapping[str, Any]]
    clusters: Sequence[str]
    metric_ids: Sequence[str]

    @property
    def binary(self) -> bool:
        """Whether every answer is right or wrong."""
        return all(get_metric(name).binary for name in set(self.metric_ids))

    @property
    def independent(self) -> bool:
        """Whether no two rows are of one cluster."""
        return len(set(self.clusters)) == len(self.rows)


def accuracy(counted: Tally, inputs: KInputs) -> dict[str, Any]:
    """Return the mean score of every output, what the tuned model gained and how steady it is."""
    whole = _scope(inputs)
    slices = _slices(counted, inputs)
    means = [m for name in slices if (m := _observed_mean(counted, "tuned", f":{name}")) is not None]
    return {
        **{variant: _scored(counted, whole, variant) for variant in VARIANTS},
        "gain": _tested_gain(counted, whole, seed=inputs.seed),
        "image_gain": _gain(counted, whole, over=("grey", "shuffled")),
        "consistency": _consistency(inputs),
        "macro": round6(math.fsum(means) / len(means)) if means else None,
        "clusters": len(set(inputs.clusters)),
        "slices": slices,
    }


def mean_score(totals: Totals, variant: str, suffix: str = "") -> Values | None:
    """Return the mean score of an output over all rows, or over one slice; None if it was not measured."""
    if f"score:{variant}" not in totals:
        return None
    n = totals[f"n{suffix}"]
    drawn = np.where(n > 0, n, 1) * MICRO
    values: Values = np.where(n > 0, totals[f"score:{variant}{suffix}"] / drawn, np.nan)
    return values


def observed_value(values: Values | None) -> float | None:
    """Return a statistic of the observed totals as a number; None if it could not be computed."""
    return None if values is None or math.isnan(values[0]) else float(values[0])


def bootstrap(counted: Tally, statistic: Statistic) -> list[float] | None:
    """Return the percentile interval of a statistic over the replicates that have it."""
    values = statistic(counted.replicates)
    if values is None or np.isnan(values).all():
        return None
    return [round6(bound) for bound in intervals.percentile_interval(values[~np.isnan(values)])]


def _observed_mean(counted: Tally, variant: str, suffix: str = "") -> float | None:
    return observed_value(mean_score(counted.observed, variant, suffix))


def _scope(inputs: KInputs, slice_: str | None = None) -> _Scope:
    picked = [i for i, row in enumerate(inputs.rows) if slice_ in (None, row["slice"])]
    return _Scope(
        "" if slice_ is None else f":{slice_}",
        [inputs.rows[i] for i in picked],
        [inputs.clusters[i] for i in picked],
        [inputs.metric_ids[i] for i in picked],
    )


def _slices(counted: Tally, inputs: KInputs) -> dict[str, Any]:
    """Write out each slice; p values of their gains are adjusted for being several."""
    slices = {name: _slice(counted, _scope(inputs, name), seed=inputs.seed) for name in inputs.slices}
    gains = [entry["gain"] for entry in slices.values() if entry["gain"] is not None]
    for gain, adjusted in zip(gains, intervals.holm([gain["p"] for gain in gains]), strict=True):
        gain["p_holm"] = round6(adjusted)
    return slices


def _slice(counted: Tally, scope: _Scope, *, seed: int) -> dict[str, Any]:
    """Write out one slice: rows, the mean of every output, the interval of the tuned one, its gain."""
    means = {variant: _observed_mean(counted, variant, scope.suffix) for variant in VARIANTS}
    gain = _tested_gain(counted, scope, seed=seed)
    return {
        **{name: None if mean is None else round6(mean) for name, mean in means.items()},
        "n": len(scope.rows),
        "interval": None if means["tuned"] is None else _interval(counted, scope, "tuned"),
        "gain": gain and {name: gain[name] for name in ("value", "interval", "p")},
    }


def _scored(counted: Tally, scope: _Scope, variant: str) -> dict[str, Any] | None:
    mean = _observed_mean(counted, variant)
    if mean is None:
        return None
    return {"value": round6(mean), "interval": _interval(counted, scope, variant), "n": len(scope.rows)}


def _interval(counted: Tally, scope: _Scope, variant: str) -> list[float] | None:
    """Return the interval of a mean score (specs/formats/kscore.md 5.3).

    Independent binary scores: Wilson. Binary scores in clusters: what Wilson and the cluster bootstrap
    cover together. Graded scores: the cluster bootstrap.
    """
    resampled = bootstrap(counted, lambda totals: mean_score(totals, variant, scope.suffix))
    if not scope.binary or resampled is None:
        return resampled
    right = int(counted.observed[f"score:{variant}{scope.suffix}"][0]) / MICRO
    low, high = intervals.wilson(right, len(scope.rows))
    if not scope.independent:
        low, high = min(low, resampled[0]), max(high, resampled[1])
    return [round6(low), round6(high)]


def _gain(counted: Tally, scope: _Scope, *, over: Sequence[str]) -> dict[str, Any] | None:
    """Return the paired difference of the tuned model to the best of other outputs, with its interval."""

    def difference(totals: Totals) -> Values | None:
        tuned, *others = (mean_score(totals, variant, scope.suffix) for variant in ("tuned", *over))
        measured = [other for other in others if other is not None]
        if tuned is None or len(measured) < len(over):
            return None
        best: Values = np.maximum.reduce(measured)
        return tuned - best

    observed = observed_value(difference(counted.observed))
    if observed is None:
        return None
    return {"value": round6(observed), "interval": bootstrap(counted, difference)}


def _tested_gain(counted: Tally, scope: _Scope, *, seed: int) -> dict[str, Any] | None:
    """Return the gain over the base with the p value of the test that its scores allow (5.4)."""
    gain = _gain(counted, scope, over=("base",))
    if gain is None:
        return None
    pairs = [tuple(micro(row["outputs"][name]["score"]) for name in ("base", "tuned")) for row in scope.rows]
    if scope.binary:
        gain["mcnemar"] = _mcnemar(pairs)
    if scope.binary and scope.independent:
        return {**gain, "p": gain["mcnemar"]["p"], "test": "mcnemar"}
    sums = sums_of_clusters(np.array([tuned - base for base, tuned in pairs]), scope.clusters)
    return {**gain, "p": round6(intervals.sign_flip(sums.tolist(), seed=seed)), "test": "sign-flip"}


def _mcnemar(pairs: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """Count the rows that were fixed and broken, with McNemar's statistic and the exact p of that split."""
    fixed = sum(tuned > base for base, tuned in pairs)
    broken = sum(tuned < base for base, tuned in pairs)
    chi2, p = intervals.mcnemar_chi2(fixed, broken), intervals.mcnemar(fixed, broken)
    return {"fixed": fixed, "broken": broken, "chi2": round6(chi2), "p": round6(p)}


def _consistency(inputs: KInputs) -> dict[str, Any] | None:
    """Return the share of rows that score the same when their question is changed a little."""
    if not {"tuned", "perturbed"} <= set(inputs.variants):
        return None
    kept: dict[str, list[bool]] = {}
    for row, kind in zip(inputs.rows, inputs.perturbations, strict=True):
        tuned, perturbed = (row["outputs"][name]["score"] for name in ("tuned", "perturbed"))
        kept.setdefault(kind, []).append(micro(tuned) == micro(perturbed))
    shares = {kind: _share(same) for kind, same in sorted(kept.items())}
    return {**_share([same for kind in kept.values() for same in kind]), "by": shares}


def _share(same: Sequence[bool]) -> dict[str, Any]:
    return {"value": round6(sum(same) / len(same)), "n": len(same)}
