"""The model card of an export: whose base it is, what was done to it, how well it does, how to check that.

Names and the task come from a file that anyone can have written, so none of them reaches the card as YAML
or Markdown: they are quoted in the one and escaped in the other. Keys of the front matter are the hub's
(huggingface.co/docs/hub/model-cards).
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kolm.artifact import Artifact
from kolm.lock import Base
from kolm.predicates import CompilePredicate

Form = Literal["peft", "merged"]

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

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~$&:@/=^\"])")


@dataclass(frozen=True)
class Facts:
    """What a card is made of."""

    artifact: Artifact
    form: Form
    compiled: CompilePredicate | None
    """The compile statement of the receipt beside the artifact; None when there is no receipt."""
    loader: str
    """Class of transformers that loads the base."""
    dtype: str
    """Type of the weights in the folder, as torch spells it."""
    files: Sequence[tuple[str, str]]
    """(name, SHA-256) of the files that hold what was trained."""


def model_card(facts: Facts) -> str:
    """Return the text of README.md."""
    manifest = facts.artifact.manifest
    sections = [
        _front(facts),
        f"# {escaped(manifest.name)}",
        escaped(manifest.task),
        _what(facts),
        "## Base",
        _base(manifest.base),
        "## What was frozen and what was trained",
        _trained(facts),
        "## How well it does",
        _score(facts.compiled),
        "## Load it",
        _load(facts),
        "## Verify it",
        _verify(facts),
        "## Limits",
        _limits(facts),
    ]
    return "\n\n".join(sections) + "\n"


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


def _front(facts: Facts) -> str:
    """Write the YAML front matter."""
    base, sees = facts.artifact.manifest.base, facts.artifact.modules.sees_images
    licence = base.licence or "unknown"
    own = licence.removeprefix("other: ")
    lines = ["license: other", f"license_name: {quoted(own)}"] if own != licence else []
    lines = lines or [f"license: {quoted(licence)}"]
    lines += [
        f"base_model: {quoted(base.model)}",
        f"base_model_relation: {'adapter' if facts.form == 'peft' else 'finetune'}",
        f"library_name: {'peft' if facts.form == 'peft' else 'transformers'}",
        f"pipeline_tag: {'image-text-to-text' if sees else 'text-generation'}",
        "tags:",
        "- kolm",
        f"- {quoted(str(facts.artifact.lock.config.get('method', 'lora')))}",
        f"- {quoted(facts.artifact.manifest.family)}",
    ]
    return "\n".join(["---", *lines, "---"])


def _what(facts: Facts) -> str:
    kind = {
        "peft": "a PEFT adapter for the base below, which it needs",
        "merged": f"the base below with what was trained merged into its weights ({facts.dtype})",
    }[facts.form]
    return (
        f"This folder holds {kind}, exported from the kolm artifact `{facts.artifact.cid}`. "
        "It was compiled for the one task above."
    )


def _base(base: Base) -> str:
    rows = [
        ("Model", escaped(base.model)),
        ("Revision", escaped(base.revision) if base.revision else "a folder; named by its files"),
        ("Licence", escaped(base.licence) if base.licence else "the base's card does not say"),
    ]
    return _table(rows) + "\n\nThe base's licence holds for this result too."


def _trained(facts: Facts) -> str:
    modules, lock = facts.artifact.modules, facts.artifact.lock
    rows = [(part, treatment) for part, treatment in modules.treatments().items()]
    method, rank = (escaped(str(lock.config.get(key, ""))) for key in ("method", "lora_r"))
    return "\n\n".join(
        [
            _table(rows),
            f"{len(modules.frozen)} tensors were frozen and {len(modules.trainable)} trained. "
            f"Method: {method}, r {rank}. "
            "In these lists `*` stands for one or more characters, and a name for all below it.",
            "Frozen:\n\n" + _bullets(modules.frozen_modules),
            "Trained:\n\n" + _bullets(modules.trainable_modules),
            f"Servable as {escaped(modules.servable_as)}. {SERVABLE[modules.servable_as]}",
        ]
    )


def _score(compiled: CompilePredicate | None) -> str:
    if compiled is None:
        return "No receipt was at hand when this was exported, so nothing is said here."
    score, tuned = compiled.k_score, compiled.k_score.accuracy.get("tuned")
    low, high = score.interval or (None, None)
    rows = [
        ("Verdict of the gate", score.gate.verdict),
        (f"K-score ({escaped(score.definition)})", _figure(score.value)),
        ("Its 95 % interval", f"{_figure(low)} to {_figure(high)}"),
        ("Rows of the eval pack", str(compiled.data.eval)),
    ]
    if isinstance(tuned, dict):
        rows.append(("Mean score of the tuned model", _figure(tuned.get("value"))))
    return _table(rows) + "\n\nThis is what the receipt in this folder says; see below for how to check it."


def _load(facts: Facts) -> str:
    base, sees = facts.artifact.manifest.base, facts.artifact.modules.sees_images
    processor = "AutoProcessor" if sees else "AutoTokenizer"
    revision = f", revision={quoted(base.revision)}" if base.revision else ""
    code = ", trust_remote_code=True" if any(file.path.endswith(".py") for file in base.files) else ""
    head = f"from transformers import {', '.join(sorted({facts.loader, processor}))}"
    if facts.form == "peft":
        lines = [
            "from peft import PeftModel",
            head,
            "",
            f'base = {facts.loader}.from_pretrained({quoted(base.model)}{revision}, dtype="auto"{code})',
            'model = PeftModel.from_pretrained(base, "THIS_FOLDER")',
        ]
    else:
        lines = [head, "", f'model = {facts.loader}.from_pretrained("THIS_FOLDER", dtype="auto"{code})']
    lines += [f'processor = {processor}.from_pretrained("THIS_FOLDER"{code})', "model.eval()"]
    longest = facts.artifact.lock.generation.max_new_tokens
    return (
        "\n".join(["```python", *lines, "```"])
        + "\n\nIt was evaluated greedily, one question at a time: "
        + f"`do_sample=False, max_new_tokens={longest}`."
    )


def _verify(facts: Facts) -> str:
    name = facts.artifact.manifest.name
    signed = (
        f"`{name}.receipt.json` is the signed receipt of the artifact `{facts.artifact.cid}`. With that "
        "artifact and the publisher's key:"
        if facts.compiled
        else f"The receipt of the artifact `{facts.artifact.cid}` is not in this folder. With both:"
    )
    command = f"```sh\nkolm verify {name}.kolm --receipt {name}.receipt.json --trust KEYS\n```"
    if facts.form == "peft":
        told = "These files are the artifact's own, byte for byte; the receipt signs their SHA-256:"
    else:
        told = (
            "These files were made from the artifact and its base, and no receipt names them; "
            f"`kolm export {name}.kolm --to merged` makes them again:"
        )
    return "\n\n".join([signed, command, told, _table([(escaped(n), f"`{d}`") for n, d in facts.files])])


def _limits(facts: Facts) -> str:
    rounding = (
        [f"Merging rounds every changed weight to {facts.dtype}; answers can differ from the adapter's."]
        if facts.form == "merged"
        else []
    )
    weights = facts.artifact.lock.config.get("quantization")
    quantised = (
        [
            "It was trained and scored on a base whose language tower was quantised; on its own weights "
            "its answers can differ from those that were scored."
        ]
        if weights
        else []
    )
    return "\n".join(
        f"- {line}"
        for line in [
            "It was made for one narrow task and measured on one eval pack; elsewhere nothing is known.",
            "What the base gets wrong, it can get wrong too: frozen parts are the base's, bit for bit.",
            *quantised,
            *rounding,
            "kolm does not know whether the training data may be used or shared; ask the publisher.",
        ]
    )


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _bullets(names: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(name)}" for name in names) or "- nothing"


def _figure(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "not measured"
