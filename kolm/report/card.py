"""What every model card says: front matter, base, what was trained, how well it does, and nothing as markup.

Names, the task and answers come from files that anyone can have written, so none of them reaches a card as
YAML or Markdown: they are quoted in the one and escaped in the other. Keys of the front matter are the hub's
(huggingface.co/docs/hub/model-cards), `model-index` is that of huggingface_hub's `EvalResult`.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kolm.artifact import Artifact
from kolm.lock import Base
from kolm.pack import pack_from_members
from kolm.predicates import CompilePredicate
from kolm.report.numbers import number, probability, signed, span
from kolm.report.scores import Accuracy, accuracy_of, judged

SERVABLE = {
    "lora": "Its factors lie in the language tower alone: PEFT and engines that take LoRA load it beside the "
    "base.",
    "lora+connector": "Its factors also lie in the projector or the vision tower. PEFT loads them; engines "
    "that take LoRA may pass those over (vLLM does unless it is told `--enable-tower-connector-lora`): where "
    "that cannot be set, serve it merged.",
    "merged": "Whole modules were trained, or DoRA's magnitudes, or 3-D expert weights, which engines that "
    "take LoRA refuse: serve it merged.",
}
"""What each `servable_as` means for whoever serves it."""

MOST = 100
"""Most names, slices or rows that a list or a table of a card shows."""

LONGEST = 200
"""Most characters of one name or value in a card."""

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~$&:@/=^\"])")

_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)


@dataclass(frozen=True)
class Subject:
    """What a card is about."""

    artifact: Artifact
    compiled: CompilePredicate | None
    """The compile statement of its receipt; None when there is no receipt."""
    merged: bool
    """Whether it is a whole model; else an adapter for its base."""

    @property
    def task(self) -> str:
        """The hub's name for what the model does."""
        return "image-text-to-text" if self.artifact.modules.sees_images else "text-generation"


def clean(text: str) -> str:
    """Return text on one line, without characters that are not seen or that turn the reading direction."""
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return " ".join("".join(" " if unicodedata.category(c) in hidden else c for c in text).split())


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is: no link, no heading, no HTML, no table cell ends in it."""
    return _MARKUP.sub(r"\\\1", clean(text))


def quoted(text: str) -> str:
    """Return text as a double-quoted scalar: of YAML 1.2, of JSON, of Python."""
    return json.dumps(clean(text), ensure_ascii=False)


def short(text: str, most: int = LONGEST) -> str:
    """Return a text of a file or a model for a table cell: escaped, and cut where it is long."""
    if _NUMBER.fullmatch(text):
        return text
    head = clean(text[: 4 * most])
    return escaped(head if len(head) <= most and len(text) <= 4 * most else f"{head[:most]}…")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bullets(names: Sequence[str]) -> str:
    """Return a list of names, the first hundred of a longer one."""
    lines = [f"- {short(name)}" for name in names[:MOST]] or ["- nothing"]
    return "\n".join([*lines, *([f"- and {len(names) - MOST} more"] if len(names) > MOST else [])])


def front_matter(subject: Subject) -> str:
    """Write the YAML front matter. Raises ArtifactError, DataError when the eval pack cannot be read."""
    artifact = subject.artifact
    licence = artifact.manifest.base.licence or "unknown"
    own = licence.removeprefix("other: ")
    lines = ["license: other", f"license_name: {quoted(own)}"] if own != licence else []
    lines = lines or [f"license: {quoted(licence)}"]
    lines += [
        f"base_model: {quoted(artifact.manifest.base.model)}",
        f"base_model_relation: {'finetune' if subject.merged else 'adapter'}",
        f"library_name: {'transformers' if subject.merged else 'peft'}",
        f"pipeline_tag: {subject.task}",
        "tags:",
        "- kolm",
        f"- {quoted(str(artifact.lock.config.get('method', 'lora')))}",
        f"- {quoted(artifact.manifest.family)}",
    ]
    if subject.compiled is not None:
        lines += _model_index(subject, accuracy_of(subject.compiled.k_score))
    return "\n".join(["---", *lines, "---"])


def _model_index(subject: Subject, accuracy: Accuracy) -> Iterator[str]:
    """Write the results: the whole pack, then slice by slice. A missing measurement is no result."""
    artifact = subject.artifact
    metrics, pack = artifact.lock.metrics, pack_from_members(artifact.read)
    whole = accuracy.tuned.value if accuracy.tuned else None
    means: list[tuple[str | None, str, float | None]] = [(None, "mean_score", whole)]
    means += [(name, metrics.get(name, ""), s.tuned) for name, s in list(accuracy.slices.items())[:MOST]]
    results = [(name, metric, value) for name, metric, value in means if value is not None]
    if not results:
        return
    yield from ("model-index:", f"- name: {quoted(artifact.manifest.name)}", "  results:")
    for name, metric, value in results:
        yield from (f"  - task: {{type: {subject.task}}}", "    dataset:")
        yield from (f"      type: {quoted(pack.name)}", f"      name: {quoted(pack.name)}")
        if name is not None:
            yield f"      config: {quoted(name[:LONGEST])}"
        yield from (f"      revision: {quoted(pack.digest)}", "    metrics:")
        yield f"    - {{type: {quoted(metric)}, value: {value:.6f}}}"


def base_section(base: Base) -> str:
    """Say whose base it is."""
    rows = [
        ("Model", short(base.model)),
        ("Revision", short(base.revision) if base.revision else "a folder; named by its files"),
        ("Licence", short(base.licence) if base.licence else "the base's card does not say"),
    ]
    return table(("", ""), rows) + "\n\nThe base's licence holds for this result too."


def trained_section(artifact: Artifact) -> str:
    """Say what was frozen, what was trained, and where the result can be served."""
    modules, lock = artifact.modules, artifact.lock
    method, rank = (short(str(lock.config.get(key, ""))) for key in ("method", "lora_r"))
    return "\n\n".join(
        [
            table(("part", "treatment"), modules.treatments().items()),
            f"{len(modules.frozen)} tensors were frozen and {len(modules.trainable)} trained. "
            f"Method: {method}, r {rank}. "
            "In these lists `*` stands for one or more characters, and a name for all below it.",
            "Frozen:\n\n" + bullets(modules.frozen_modules),
            "Trained:\n\n" + bullets(modules.trainable_modules),
            f"Servable as {short(modules.servable_as)}. {SERVABLE[modules.servable_as]}",
        ]
    )


def score_section(subject: Subject) -> str:
    """Say how well it does: verdict, K, every output, every slice, every condition of the gate."""
    compiled = subject.compiled
    if compiled is None:
        return "No receipt was at hand when this was exported, so nothing is said here."
    k, accuracy = compiled.k_score, accuracy_of(compiled.k_score)
    head = [
        ("Verdict of the gate", k.gate.verdict, ""),
        (f"K-score ({short(k.definition)})", number(k.value, 4), span(k.interval, 4)),
        *((name, number(m.value, 4), span(m.interval, 4)) for name, m in accuracy.models.items()),
    ]
    gate = [
        (c.state, f"{short(c.words)} ({short(c.id)})", short(c.required), short(c.observed))
        for c in judged(k)
    ]
    return "\n\n".join(
        [
            table(("", "value", "95 % interval"), head),
            _slices(subject, accuracy),
            table(("", "condition", "required", "observed"), gate),
            f"Over {compiled.data.eval} rows of the eval pack, which was scored {k.attempts} "
            f"{'time' if k.attempts == 1 else 'times'} where this was compiled. "
            "This is what the receipt says; `kolm verify` checks it.",
        ]
    )


def _slices(subject: Subject, accuracy: Accuracy) -> str:
    metrics = subject.artifact.lock.metrics
    rows = [
        (
            short(name),
            short(metrics.get(name, "")),
            f"{s.n}{' (too few)' if s.few else ''}",
            number(s.base, 4),
            number(s.tuned, 4),
            span(s.interval, 4),
            signed(s.gain.value, 4) if s.gain else "",
            probability(s.gain.p_holm) if s.gain and s.gain.p_holm is not None else "",
        )
        for name, s in list(accuracy.slices.items())[:MOST]
    ]
    if len(accuracy.slices) > MOST:
        rows.append((f"and {len(accuracy.slices) - MOST} more", "", "", "", "", "", "", ""))
    return table(("slice", "metric", "rows", "base", "tuned", "95 % interval", "gain", "adjusted p"), rows)
