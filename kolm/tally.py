"""The tally behind K: what is counted over the eval rows, once as observed and once per replicate.

Scores enter as whole millionths and everything else as integers, so sums are exact on every machine
and the order of rows cannot matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kolm import intervals
from kolm.axes import MICRO
from kolm.errors import DataError

VARIANTS = ("base", "tuned", "grey", "shuffled")
"""Outputs of a row: the base, the tuned model, and the tuned model on a grey and on another row's image."""

MAX_COUNT = 1 << 31
"""Most tokens or patches of one row; sums over rows stay far inside 64 bits."""

Ints = npt.NDArray[np.int64]
Totals = Mapping[str, int]
"""Sums by name: `n`, `prompt`, `patches`, `score:tuned` (millionths), `tokens:base`, and for each slice
`n:SLICE`, `usable:SLICE`, `score:tuned:SLICE`; `p95_ns` where there are timings."""


@dataclass(frozen=True)
class CostModel:
    """Parameter counts from which the arithmetic of a call is estimated."""

    language_params: int
    """Parameters that every token passes through, in the base."""
    added_params: int
    """Parameters that the adapter adds to them."""
    vision_params: int
    """Parameters that every image patch passes through."""


@dataclass(frozen=True)
class KInputs:
    """Everything K is computed from; `rows`, `clusters`, `metric_ids` and both timings run in parallel."""

    rows: Sequence[Mapping[str, Any]]
    """Rows of `eval/rows.jsonl`."""
    clusters: Sequence[str]
    """Cluster of each row, see `kolm.kscore.clusters_of`."""
    metric_ids: Sequence[str]
    """Metric of each row."""
    adapter_bytes: int
    """Size of everything under `adapter/`, or under `weights/` where the result is no adapter."""
    base_bytes: int
    """Size of all files of the base."""
    cost: CostModel
    base_ns: Sequence[int] | None
    """Wall time of each answer of the base, or None if it was not measured."""
    tuned_ns: Sequence[int] | None
    """Wall time of each answer of the tuned model, or None."""
    budget_latency_p95_s: float
    """Seconds within which 95 % of the answers must be there."""
    seed: int
    """Seed of the resampling."""
    declared_slices: Sequence[str] = ()
    """Slices the pack declares; one without rows counts 0 in V."""

    @property
    def variants(self) -> list[str]:
        """The outputs that every row has; one that is missing anywhere was not measured."""
        return [name for name in VARIANTS if all(name in row["outputs"] for row in self.rows)]

    @property
    def slices(self) -> list[str]:
        """The slices of the rows and of the pack, sorted."""
        return sorted({row["slice"] for row in self.rows} | set(self.declared_slices))


@dataclass(frozen=True)
class Tally:
    """Totals as observed, and one set of totals for each bootstrap replicate."""

    observed: Totals
    replicates: Sequence[Totals]


def tally(inputs: KInputs) -> Tally:
    """Count the rows, and count them again for every replicate. Raises DataError for unusable rows."""
    _check(inputs)
    columns = _columns(inputs)
    observed = {name: int(column.sum()) for name, column in columns.items()}
    if inputs.tuned_ns is not None:
        once = np.ones((1, len(inputs.rows)), dtype=np.int64)
        observed["p95_ns"] = int(_p95(np.array(inputs.tuned_ns, dtype=np.int64), once)[0])
    return Tally(observed, _replicates(inputs, columns))


def _check(inputs: KInputs) -> None:
    """Refuse inputs that no score can be computed from."""
    n = len(inputs.rows)
    if n == 0:
        raise DataError("there are no eval rows to score", hint="an eval pack needs at least one row")
    beside = (inputs.clusters, inputs.metric_ids, inputs.base_ns, inputs.tuned_ns)
    if any(column is not None and len(column) != n for column in beside):
        raise DataError(
            "rows, clusters, metrics and timings differ in length", hint="give one of each per row"
        )
    if inputs.budget_latency_p95_s <= 0:
        raise DataError("the latency budget must be more than 0 s", hint="set eval.budget.latency_p95_s")
    for row in inputs.rows:
        outputs = row["outputs"].values()
        if not all(0 <= output["score"] <= 1 for output in outputs):
            raise DataError(f"row {row['id']}: a score is not in [0, 1]", hint="evaluate again")
        counts = [row["prompt_tokens"], row["patches"], *(output["tokens"] for output in outputs)]
        if not all(0 <= count <= MAX_COUNT for count in counts):
            raise DataError(f"row {row['id']}: a token count is not credible", hint="evaluate again")


def _columns(inputs: KInputs) -> dict[str, Ints]:
    """Lay rows out as integer columns [rows] whose sums are all that K needs."""
    rows = inputs.rows
    columns: dict[str, Ints] = {
        "n": np.ones(len(rows), dtype=np.int64),
        "prompt": _column(row["prompt_tokens"] for row in rows),
        "patches": _column(row["patches"] for row in rows),
    }
    for variant in inputs.variants:
        outputs = [row["outputs"][variant] for row in rows]
        columns[f"score:{variant}"] = _column(round(output["score"] * MICRO) for output in outputs)
        columns[f"tokens:{variant}"] = _column(output["tokens"] for output in outputs)
    for name in inputs.slices:
        inside = _column(row["slice"] == name for row in rows)
        columns[f"n:{name}"] = inside
        for variant in inputs.variants:
            columns[f"score:{variant}:{name}"] = inside * columns[f"score:{variant}"]
        if "tuned" in inputs.variants:
            columns[f"usable:{name}"] = inside * _column(_usable(row["outputs"]["tuned"]) for row in rows)
    return columns


def _column(values: Any) -> Ints:
    return np.fromiter(values, dtype=np.int64)


def _usable(output: Mapping[str, Any]) -> bool:
    """Whether an answer can be used at all: it ended by itself and an answer was read out of it."""
    return output["finish"] == "stop" and output["extracted"] is not None


def _replicates(inputs: KInputs, columns: Mapping[str, Ints]) -> list[Totals]:
    """Return the totals of each bootstrap replicate, whole clusters drawn together."""
    # Sorting the clusters is what makes the result independent of the order of rows.
    names, member = np.unique(np.array(inputs.clusters), return_inverse=True)
    sums = np.zeros((len(names), len(columns)), dtype=np.int64)  # [clusters, columns]
    np.add.at(sums, member, np.stack(list(columns.values()), axis=1))
    found: list[Totals] = []
    for counts in intervals.resample(len(names), seed=inputs.seed):  # [replicates, clusters]
        totals: dict[str, Ints] = dict(zip(columns, (counts @ sums).T, strict=True))
        if inputs.tuned_ns is not None:
            totals["p95_ns"] = _p95(np.array(inputs.tuned_ns, dtype=np.int64), counts[:, member])
        lines = np.stack(list(totals.values()), axis=1).tolist()  # [replicates, columns]
        found += [dict(zip(totals, line, strict=True)) for line in lines]
    return found


def _p95(ns: Ints, weights: Ints) -> Ints:
    """Return the 95 % point by nearest rank of times [rows] under row weights [replicates, rows]."""
    order = np.argsort(ns, kind="stable")
    cumulative = np.cumsum(weights[:, order], axis=1)
    needed = -(-950 * cumulative[:, -1:] // 1000)
    points: Ints = ns[order][np.argmax(cumulative >= needed, axis=1)]
    return points
