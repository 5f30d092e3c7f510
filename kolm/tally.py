"""The tally behind K: what is counted over the eval rows, once as observed and once per replicate.

Scores enter as whole millionths and everything else as integers, so sums are exact on every machine
and the order of rows cannot matter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kolm import intervals
from kolm.axes import MICRO
from kolm.errors import DataError

VARIANTS = ("base", "tuned", "perturbed", "grey", "shuffled")
"""Outputs of a row: the base and the tuned model; the tuned model on a slightly changed question, on a grey
picture and on another row's picture."""

MAX_COUNT = 1 << 31
"""Most tokens or patches of one row; sums over rows stay far inside 64 bits."""

_EXACT = 1 << 53
"""Whole numbers below this are exact as 64-bit floats."""

Ints = npt.NDArray[np.int64]
Totals = Mapping[str, Ints]
"""Sums by name, each [replicates]: `n`, `prompt`, `patches`, `score:tuned` (millionths), `tokens:base`, and
for each slice `n:SLICE`, `usable:SLICE`, `score:tuned:SLICE`; `p95_ns` where there are timings, -1 in a
replicate that drew no timed row."""


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
    """Everything K is computed from; what is said of `rows` runs parallel to them, times to `timed`."""

    rows: Sequence[Mapping[str, Any]]
    """Rows of `eval/rows.jsonl`."""
    clusters: Sequence[str]
    """Cluster of each row, see `kolm.kscore.clusters_of`."""
    metric_ids: Sequence[str]
    """Metric of each row."""
    perturbations: Sequence[str]
    """How the question of each row was changed for its output `perturbed`, see `kolm.draws`."""
    adapter_bytes: int
    """Size of everything under `adapter/`, or under `weights/` where the result is no adapter."""
    base_bytes: int
    """Size of all files of the base."""
    cost: CostModel
    timed: Sequence[str]
    """Ids of the rows that were timed."""
    base_ns: Sequence[int] | None
    """Wall time of the base's answer to each timed row, or None if one was not measured."""
    tuned_ns: Sequence[int] | None
    """Wall time of the tuned model's answer to each timed row, or None."""
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
    """Totals as observed, arrays of one number, and over the bootstrap replicates."""

    observed: Totals
    replicates: Totals


def tally(inputs: KInputs) -> Tally:
    """Count the rows, and count them again for every replicate. Raises DataError for unusable rows."""
    _check(inputs)
    columns = _columns(inputs)
    observed = {name: column.sum(keepdims=True) for name, column in columns.items()}
    if inputs.tuned_ns is not None:
        observed["p95_ns"] = _p95(_column(inputs.tuned_ns), np.ones((1, len(inputs.timed)), dtype=np.int64))
    return Tally(observed, _replicates(inputs, columns))


def sums_of_clusters(values: Ints, clusters: Sequence[str]) -> Ints:
    """Sum numbers of rows [rows, ...] over the rows of each cluster [clusters, ...], clusters by name."""
    names, member = _membership(clusters)
    sums = np.zeros((len(names), *values.shape[1:]), dtype=np.int64)
    np.add.at(sums, member, values)
    return sums


def _check(inputs: KInputs) -> None:
    """Refuse inputs that no score can be computed from."""
    n = len(inputs.rows)
    if n == 0:
        raise DataError("there are no eval rows to score", hint="an eval pack needs at least one row")
    if any(len(column) != n for column in (inputs.clusters, inputs.metric_ids, inputs.perturbations)):
        raise DataError("rows, clusters and metrics differ in length", hint="give one of each per row")
    _check_timings(inputs)
    for row in inputs.rows:
        outputs = row["outputs"].values()
        if not all(0 <= output["score"] <= 1 for output in outputs):
            raise DataError(f"row {row['id']}: a score is not in [0, 1]", hint="evaluate again")
        counts = [row["prompt_tokens"], row["patches"], *(output["tokens"] for output in outputs)]
        if not all(0 <= count <= MAX_COUNT for count in counts):
            raise DataError(f"row {row['id']}: a token count is not credible", hint="evaluate again")


def _check_timings(inputs: KInputs) -> None:
    if inputs.budget_latency_p95_s <= 0:
        raise DataError("the latency budget must be more than 0 s", hint="set eval.budget.latency_p95_s")
    timed = set(inputs.timed)
    if not timed or len(timed) < len(inputs.timed) or not timed <= {row["id"] for row in inputs.rows}:
        raise DataError("the timed rows are not rows of the eval", hint="time rows of the pack, each once")
    if any(ns is not None and len(ns) != len(timed) for ns in (inputs.base_ns, inputs.tuned_ns)):
        raise DataError("timed rows and timings differ in length", hint="give one time per timed row")


def _columns(inputs: KInputs) -> dict[str, Ints]:
    """Lay rows out as integer columns [rows] whose sums are all that K needs."""
    rows, variants = inputs.rows, inputs.variants
    columns: dict[str, Ints] = {
        "n": np.ones(len(rows), dtype=np.int64),
        "prompt": _column(row["prompt_tokens"] for row in rows),
        "patches": _column(row["patches"] for row in rows),
    }
    for variant in variants:
        columns[f"score:{variant}"] = _column(micro(row["outputs"][variant]["score"]) for row in rows)
        if variant in ("base", "tuned"):
            columns[f"tokens:{variant}"] = _column(row["outputs"][variant]["tokens"] for row in rows)
    usable = _column(_usable(row["outputs"]["tuned"]) for row in rows) if "tuned" in variants else None
    for name in inputs.slices:
        inside = _column(row["slice"] == name for row in rows)
        columns[f"n:{name}"] = inside
        for variant in variants:
            columns[f"score:{variant}:{name}"] = inside * columns[f"score:{variant}"]
        if usable is not None:
            columns[f"usable:{name}"] = inside * usable
    return columns


def micro(score: float) -> int:
    """Return a score in whole millionths."""
    return round(score * MICRO)


def _column(values: Iterable[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64)


def _usable(output: Mapping[str, Any]) -> bool:
    """Whether an answer can be used at all: it ended by itself and an answer was read out of it."""
    return output["finish"] == "stop" and output["extracted"] is not None


def _membership(clusters: Sequence[str]) -> tuple[list[str], Ints]:
    """Return the clusters' names in order, and for each row the place of its cluster [rows]."""
    # Sorting the clusters is what makes the result independent of the order of rows.
    names = sorted(set(clusters))
    place = {name: i for i, name in enumerate(names)}
    return names, _column(place[name] for name in clusters)


def _replicates(inputs: KInputs, columns: Mapping[str, Ints]) -> Totals:
    """Return the totals of each bootstrap replicate, whole clusters drawn together."""
    names, member = _membership(inputs.clusters)
    sums = sums_of_clusters(np.stack(list(columns.values()), axis=1), inputs.clusters)  # [clusters, columns]
    row = {each["id"]: i for i, each in enumerate(inputs.rows)}
    timed = member[[row[row_id] for row_id in inputs.timed]]
    blocks: list[dict[str, Ints]] = []
    for counts in intervals.resample(len(names), seed=inputs.seed):  # [replicates, clusters]
        totals = dict(zip(columns, _product(counts, sums).T, strict=True))
        if inputs.tuned_ns is not None:
            totals["p95_ns"] = _p95(_column(inputs.tuned_ns), counts[:, timed])
        blocks.append(totals)
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _product(counts: Ints, sums: Ints) -> Ints:
    """Multiply matrices exactly: as floats, which is faster, where no sum can lose a digit."""
    if int(sums.max(initial=0)) * int(counts.sum(axis=1).max()) < _EXACT:
        return (counts.astype(np.float64) @ sums.astype(np.float64)).astype(np.int64)
    return counts @ sums


def _p95(ns: Ints, weights: Ints) -> Ints:
    """Return the 95 % point by nearest rank of times [rows] under row weights [replicates, rows]."""
    order = np.argsort(ns, kind="stable")
    cumulative = np.cumsum(weights[:, order], axis=1)
    drawn = cumulative[:, -1]
    needed = -(-950 * drawn[:, np.newaxis] // 1000)
    points: Ints = np.where(drawn > 0, ns[order][np.argmax(cumulative >= needed, axis=1)], -1)
    return points
