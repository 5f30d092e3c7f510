"""The model card of an export: what every card says, and how this folder is loaded and checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kolm.artifact import Artifact
from kolm.predicates import CompilePredicate
from kolm.report.card import (
    Subject,
    base_section,
    front_matter,
    quoted,
    score_section,
    short,
    table,
    trained_section,
)

Form = Literal["peft", "merged"]


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
    """Return the text of README.md. Raises ArtifactError, DataError when the eval pack cannot be read."""
    manifest = facts.artifact.manifest
    subject = Subject(facts.artifact, facts.compiled, merged=facts.form == "merged")
    sections = [
        front_matter(subject),
        f"# {short(manifest.name)}",
        short(manifest.task, 2000),
        _what(facts),
        "## Base",
        base_section(manifest.base),
        "## What was frozen and what was trained",
        trained_section(facts.artifact),
        "## How well it does",
        score_section(subject),
        "## Load it",
        _load(facts),
        "## Verify it",
        _verify(facts),
        "## Limits",
        _limits(facts),
    ]
    return "\n\n".join(sections) + "\n"


def _what(facts: Facts) -> str:
    kind = {
        "peft": "a PEFT adapter for the base below, which it needs",
        "merged": f"the base below with what was trained merged into its weights ({facts.dtype})",
    }[facts.form]
    return (
        f"This folder holds {kind}, exported from the kolm artifact `{facts.artifact.cid}`. "
        "It was compiled for the one task above."
    )


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
        + "\n\nIt was evaluated greedily: "
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
    return "\n\n".join(
        [signed, command, told, table(("file", "SHA-256"), [(short(n), f"`{d}`") for n, d in facts.files])]
    )


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
