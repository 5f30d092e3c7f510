"""From stored outputs to the K-score document: what the pipeline writes and the verifier writes again.

Raw outputs stand in `eval/rows.jsonl`; extraction, metric, K, interval, axes and verdict follow from
them, the artifact's sizes and the signed timings. The row format is specs/formats/artifact.md 5.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from kolm.artifact import Artifact
from kolm.canonical import parse_canonical_lines
from kolm.cid import sha256_hex
from kolm.draws import perturbation, timed_rows
from kolm.errors import VerificationError
from kolm.kscore import CostModel, GateFacts, KInputs, Thresholds, clusters_of, compute_k, judge
from kolm.metrics import get_metric
from kolm.overlaps import exact_overlaps, folded, shared_groups
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
    prompt_tokens: Annotated[int, Field(ge=1)]
    image_tokens: Count
    patches: Count
    outputs: dict[Literal["base", "tuned", "perturbed", "grey", "shuffled"], Output]


def score_artifact(
    artifact: Artifact,
    *,
    timings: Sequence[Mapping[str, Any]],
    attempts: int,
    near_duplicates: int | None,
    text_overlaps: int | None = 0,
    pack: EvalPack | None = None,
) -> dict[str, Any]:
    """Return the whole K-score document of an artifact: K, axes, accuracy, gate, attempts.

    `timings` are the receipt's `[{id, base_ns, tuned_ns}]`, one for each timed row in the pack's order;
    `near_duplicates` its count of pairs of pictures that look alike and wait for review, None if nobody
    looked; `text_overlaps` its count of questions without pictures that are trained on, None likewise.
    Raises ArtifactError, or VerificationError (E_KSCORE) if the stored rows are not what they say.
    """
    pack = pack or pack_from_members(artifact.read)
    rows = read_rows(artifact, pack=pack)
    k = compute_k(_inputs(artifact, rows, pack=pack, metrics=artifact.lock.metrics, timings=timings))
    facts = _facts(artifact, pack, near_duplicates=near_duplicates, text_overlaps=text_overlaps)
    return {**k, "gate": judge(k, facts=facts, thresholds=_thresholds(artifact)), "attempts": attempts}


def score_elsewhere(
    artifact: Artifact,
    rows: Sequence[Mapping[str, Any]],
    *,
    pack: EvalPack,
    timings: Sequence[Mapping[str, Any]],
    attempts: int,
) -> dict[str, Any]:
    """Return the K-score document of an artifact's models on a pack that is not the one inside it.

    `rows` are what they said, as `eval/rows.jsonl` has it, scored by the pack's own metrics. What only the
    training data could show, near duplicates and equal questions without pictures, is not judged.
    """
    said = [read_model(EvalRow, dict(row), what="the answers") for row in rows]
    metrics = {name: part.metric for name, part in pack.slices.items()}
    k = compute_k(_inputs(artifact, said, pack=pack, metrics=metrics, timings=timings))
    facts = replace(_facts(artifact, pack, near_duplicates=None, text_overlaps=0), trained_on_at_hand=False)
    return {**k, "gate": judge(k, facts=facts, thresholds=_thresholds(artifact)), "attempts": attempts}


def _facts(
    artifact: Artifact, pack: EvalPack, *, near_duplicates: int | None, text_overlaps: int | None
) -> GateFacts:
    train_set = artifact.read("train/set.json")
    seen = len(exact_overlaps(train_set, pack)) + len(shared_groups(train_set, pack))
    if text_overlaps is None and all(row.images for row in pack.rows):
        text_overlaps = 0  # there is no question without pictures to look for
    independent = {(row.slice, name) for row, name in zip(pack.rows, clusters(pack), strict=True)}
    sizes = Counter(slice_ for slice_, _ in independent)
    return GateFacts(
        overlaps=None if text_overlaps is None else seen + text_overlaps,
        near_duplicates=near_duplicates,
        frozen_changed=len(artifact.modules.changed()),
        rows=len(pack.rows),
        least_slice=min(sizes[name] for name in pack.slices),
        text_only=not _sees_images(artifact, pack),
    )


def _thresholds(artifact: Artifact) -> Thresholds:
    judged = artifact.lock.eval
    return Thresholds(k=judged.gate.k, min_accuracy=judged.min_accuracy)


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
    models = {"base", "tuned", "perturbed", *(CONTROLS if _sees_images(artifact, pack) else ())}
    for row, asked in zip(rows, pack.rows, strict=True):
        if row.outputs.keys() != models:
            raise _wrong(f"row {row.id} lacks an output, or has one too many")
        if not asked.images and (row.image_tokens or row.patches):
            raise _wrong(f"row {row.id} counts image tokens and shows no picture")
        blind = [output for name, output in row.outputs.items() if name in CONTROLS]
        if not asked.images and any(output != row.outputs["tuned"] for output in blind):
            raise _wrong(f"row {row.id} shows no picture, and answers differently without one")
        _check_lengths(row, most=artifact.lock.generation.max_new_tokens)
        _check_scores(row, asked=asked, metric_id=metric_of(artifact, row.slice))
    _check_equals(rows, pack)
    return rows


def _check_equals(rows: Sequence[EvalRow], pack: EvalPack) -> None:
    """Equal questions, by pixels and text, have equal answers of either model: they are greedy."""
    first: dict[tuple[str, ...], tuple[str, object]] = {}
    for row, asked in zip(rows, pack.rows, strict=True):
        question = (asked.prompt, *(pack.gallery.pixels(cid) for cid in asked.images))
        said = [(o.raw, o.tokens, o.finish) for o in (row.outputs["base"], row.outputs["tuned"])]
        told = (said, row.prompt_tokens, row.image_tokens, row.patches)
        other, known = first.setdefault(question, (row.id, told))
        if known != told:
            raise _wrong(f"row {row.id} asks what row {other} asks, and is answered otherwise")


def _check_lengths(row: EvalRow, *, most: int) -> None:
    """An answer has a token, its end, at least; one that was cut has as many as were allowed."""
    for model, output in row.outputs.items():
        least = most if output.finish == "length" else 1
        if not least <= output.tokens <= most:
            raise _wrong(f"row {row.id}, {model}: {output.tokens} tokens, of at most {most}, {output.finish}")


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
        if extracted != output.extracted:
            raise _wrong(f"row {row.id}, {model}: {metric_id} reads another answer than the row says")
        if score != output.score:
            raise _wrong(f"row {row.id}, {model}: {metric_id} gives {score}, the row says {output.score}")


def _inputs(
    artifact: Artifact,
    rows: Sequence[EvalRow],
    *,
    pack: EvalPack,
    metrics: Mapping[str, str],
    timings: Sequence[Mapping[str, Any]],
) -> KInputs:
    lock, container, digest = artifact.lock, artifact.container, pack.digest
    ids = [row.id for row in rows]
    if [timing["id"] for timing in timings] != timed_rows(digest, ids):
        raise _wrong("the timings are not those of the rows that are drawn to be timed")
    return KInputs(
        rows=[row.model_dump() for row in rows],
        clusters=clusters(pack),
        metric_ids=[metrics[row.slice] for row in rows],
        perturbations=[perturbation(digest, row.id, has_image=bool(row.images)) for row in pack.rows],
        adapter_bytes=sum(container.size(name) for name in artifact.members("adapter", "weights")),
        base_bytes=sum(file.bytes for file in lock.base.files),
        cost=CostModel(**lock.cost.model_dump()),
        timed=[timing["id"] for timing in timings],
        base_ns=_nanoseconds(timings, "base_ns"),
        tuned_ns=_nanoseconds(timings, "tuned_ns"),
        budget_latency_p95_s=lock.eval.budget.latency_p95_s,
        seed=lock.eval.seed,
        declared_slices=sorted(pack.slices),
    )


def clusters(pack: EvalPack) -> list[str]:
    """Name the cluster of each row of a pack (specs/formats/kscore.md 5.1). Raises DataError."""
    keys = [[*_cluster_keys(row, pack)] for row in pack.rows]
    return clusters_of(keys, [row.id for row in pack.rows])


def _cluster_keys(row: PackRow, pack: EvalPack) -> Iterator[str]:
    """Yield what puts a row into a cluster.

    A picture has two names, by its bytes and by its pixels: encoded again, it is still one observation.
    """
    if pack.cluster == "group" and row.group is not None:
        yield f"group:{row.group}"
    for cid in row.images:
        yield from (str(cid), f"pixels:{pack.gallery.pixels(cid)}")
    if not row.images:
        yield f"text:{sha256_hex(folded(row.prompt).encode())}"


def _nanoseconds(timings: Sequence[Mapping[str, Any]], member: str) -> list[int] | None:
    """One missing measurement is a missing axis, never a shorter list."""
    values = [timing[member] for timing in timings]
    return None if any(value is None for value in values) else values


def _wrong(message: str) -> VerificationError:
    return VerificationError(
        message, check="E_KSCORE", hint="The stored outputs were changed after the eval."
    )
