"""From stored outputs to the K-score document: what the pipeline writes and the verifier writes again.

Raw outputs stand in `eval/rows.jsonl`; extraction, metric, K, interval, axes and verdict follow from
them, the artifact's sizes and the signed timings. The row format is specs/formats/artifact.md 5.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kolm.artifact import Artifact
from kolm.canonical import parse_canonical_lines
from kolm.errors import VerificationError
from kolm.kscore import CostModel, GateFacts, KInputs, Thresholds, clusters_of, compute_k, judge
from kolm.leaks import exact_overlaps
from kolm.metrics import get_metric
from kolm.pack import EvalPack, PackRow, pack_from_members
from kolm.schema import Closed, Count, read_model

CONTROLS = ("grey", "shuffled")
"""Outputs that a model has exactly if it sees images, whatever its receipt calls it."""


class Output(Closed):
    """What one model said about one row."""

    raw: str
    extracted: str | None
    score: float
    tokens: Count
    finish: Literal["stop", "length"]


class EvalRow(Closed):
    """One line of `eval/rows.jsonl`."""

    id: str
    slice: str
    prompt_tokens: Count
    image_tokens: Count
    patches: Count
    outputs: dict[Literal["base", "tuned", "grey", "shuffled"], Output]


def score_artifact(
    artifact: Artifact,
    *,
    timings: Sequence[Mapping[str, Any]],
    attempts: int,
    text_overlaps: int = 0,
    pack: EvalPack | None = None,
) -> dict[str, Any]:
    """Return the whole K-score document of an artifact: K, axes, accuracy, gate, attempts.

    `timings` are the receipt's `[{id, base_ns, tuned_ns}]`, one for each row of the pack in its order;
    `text_overlaps` its count of questions without pictures that are trained on.
    Raises ArtifactError, or VerificationError (E_KSCORE) if the stored rows are not what they say.
    """
    pack = pack or pack_from_members(artifact.read)
    rows = read_rows(artifact, pack=pack)
    if [timing["id"] for timing in timings] != [row.id for row in rows]:
        raise _wrong("the timings are not those of the eval rows")
    k = compute_k(_inputs(artifact, rows=rows, pack=pack, timings=timings))
    facts = GateFacts(
        overlaps=len(exact_overlaps(artifact.read("train/set.json"), pack)) + text_overlaps,
        frozen_changed=len(artifact.modules.changed()),
        rows=len(rows),
        text_only=not _sees_images(artifact, pack),
    )
    judged = artifact.lock.eval
    thresholds = Thresholds(k=judged.gate.k, min_accuracy=judged.min_accuracy)
    return {**k, "gate": judge(k, facts=facts, thresholds=thresholds), "attempts": attempts}


def read_rows(artifact: Artifact, *, pack: EvalPack) -> list[EvalRow]:
    """Return the stored rows after recomputing every extraction and score from its raw output.

    Raises ArtifactError (E_SCHEMA), VerificationError (E_KSCORE).
    """
    name = "eval/rows.jsonl"
    lines = parse_canonical_lines(artifact.read(name), what=name)
    rows = [read_model(EvalRow, line, what=f"{name} line {n}") for n, line in enumerate(lines, start=1)]
    wanted = [(row.id, row.slice) for row in pack.rows]
    if [(row.id, row.slice) for row in rows] != wanted:
        raise _wrong("eval/rows.jsonl does not hold the rows of the pack in its order")
    models = {"base", "tuned", *(CONTROLS if _sees_images(artifact, pack) else ())}
    for row, asked in zip(rows, pack.rows, strict=True):
        if row.outputs.keys() != models:
            raise _wrong(f"row {row.id} lacks an output, or has one too many")
        if not asked.images and (row.image_tokens or row.patches):
            raise _wrong(f"row {row.id} counts image tokens and shows no picture")
        _check_scores(row, asked=asked, metric_id=metric_of(artifact, row.slice))
    return rows


def _sees_images(artifact: Artifact, pack: EvalPack) -> bool:
    """Whether blind controls are due: the model looks at images, or was shown one all the same."""
    return artifact.modules.sees_images or any(row.images for row in pack.rows)


def metric_of(artifact: Artifact, slice_: str) -> str:
    """Return the metric id that the lock sets for a slice. Raises VerificationError (E_KSCORE)."""
    metrics = artifact.lock.metrics
    if slice_ not in metrics:
        raise _wrong(f"no metric is locked for slice {slice_}")
    return metrics[slice_]


def _check_scores(row: EvalRow, *, asked: PackRow, metric_id: str) -> None:
    metric = get_metric(metric_id)
    for model, output in row.outputs.items():
        extracted, score = metric.judge(output.raw, asked.gold)
        if (extracted, score) != (output.extracted, output.score):
            raise _wrong(f"row {row.id}, {model}: {metric_id} gives {score}, the row says {output.score}")


def _inputs(
    artifact: Artifact, *, rows: Sequence[EvalRow], pack: EvalPack, timings: Sequence[Mapping[str, Any]]
) -> KInputs:
    lock, container = artifact.lock, artifact.container
    return KInputs(
        rows=[row.model_dump() for row in rows],
        clusters=clusters_of([row.images for row in pack.rows], [row.id for row in pack.rows]),
        metric_ids=[metric_of(artifact, row.slice) for row in rows],
        adapter_bytes=sum(container.size(name) for name in artifact.members("adapter", "weights")),
        base_bytes=sum(file.bytes for file in lock.base.files),
        cost=CostModel(**lock.cost.model_dump()),
        base_ns=_nanoseconds(timings, "base_ns"),
        tuned_ns=_nanoseconds(timings, "tuned_ns"),
        budget_latency_p95_s=lock.eval.budget.latency_p95_s,
        seed=lock.eval.seed,
        declared_slices=sorted(pack.slices),
    )


def _nanoseconds(timings: Sequence[Mapping[str, Any]], member: str) -> list[int] | None:
    """One missing measurement is a missing axis, never a shorter list."""
    values = [timing[member] for timing in timings]
    return None if any(value is None for value in values) else values


def _wrong(message: str) -> VerificationError:
    return VerificationError(
        message, check="E_KSCORE", hint="The stored outputs were changed after the eval."
    )
