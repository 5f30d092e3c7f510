"""The report as Markdown: a model card with front matter, the same facts as tables, and no pictures."""

import itertools
from collections.abc import Iterator

from kolm.report.answers import kind_of
from kolm.report.card import Subject, base_section, front_matter, score_section, short, table, trained_section
from kolm.report.facts import LIMITS, Facts
from kolm.report.numbers import count, duration, number, probability, signed, span
from kolm.report.scores import MANY_ATTEMPTS

ANSWERS = 12
"""Most broken, and most fixed, rows whose answers are shown."""

CELL = 80
"""Most characters of an answer."""


def markdown_card(facts: Facts) -> str:
    """Return the card of an artifact; every list and cell is bounded, so it is far below 1 MiB.

    Raises ArtifactError, DataError when a member cannot be read.
    """
    artifact = facts.artifact
    sections = [
        front_matter(_subject(facts)),
        f"# {short(artifact.manifest.name)}",
        f"{facts.verdict}. {short(artifact.manifest.task, 2000)}",
        "## How well it does",
        score_section(_subject(facts)),
        *_advice(facts),
        "## What changed",
        *_changes(facts),
        "## How it was asked",
        *_asked(facts),
        "## Base",
        base_section(artifact.manifest.base),
        "## What was frozen and what was trained",
        trained_section(artifact),
        "## Training",
        _training(facts),
        "## Data",
        _data(facts),
        "## Provenance",
        _provenance(facts),
        "## What this does not show",
        "\n".join(f"- {limit}" for limit in LIMITS),
    ]
    return "\n\n".join(sections) + "\n"


def _subject(facts: Facts) -> Subject:
    return Subject(facts.artifact, facts.compiled, merged=not facts.artifact.members("adapter"))


def _advice(facts: Facts) -> Iterator[str]:
    if facts.k.attempts >= MANY_ATTEMPTS:
        yield "The best of many tries on one pack is partly luck: take a fresh pack for the decision."


def _changes(facts: Facts) -> Iterator[str]:
    """Count what was fixed and broken, and show some of these answers."""
    changes = {kind: count(rows) for kind, rows in facts.changes.items()}
    yield table(
        ("", "tuned right", "tuned wrong"),
        [
            ("base right", changes["right"], f"{changes['broken']} broken"),
            ("base wrong", f"{changes['fixed']} fixed", changes["wrong"]),
        ],
    )
    for name, gain in (
        ("the base", facts.accuracy.gain),
        ("grey or wrong images", facts.accuracy.image_gain),
    ):
        if gain is not None:
            p = f", p {probability(gain.p)}" if gain.p is not None else ""
            yield f"Gain over {name}: {signed(gain.value)} ({span(gain.interval) or 'no interval'}){p}."
    rows = [
        (
            kind,
            short(row.id, CELL),
            short(row.slice, CELL),
            short(asked.gold[0], CELL),
            short(row.outputs["base"].raw, CELL),
            short(row.outputs["tuned"].raw, CELL),
        )
        for kind in ("broken", "fixed")
        for row, asked in itertools.islice(
            (pair for pair in zip(facts.rows, facts.pack.rows, strict=True) if kind_of(pair[0]) == kind),
            ANSWERS,
        )
    ]
    if rows:
        yield table(("", "row", "slice", "gold", "base", "tuned"), rows)


def _asked(facts: Facts) -> Iterator[str]:
    yield facts.asked
    steady = facts.accuracy.steadiness
    if steady:
        rows = [(short(words), count(s.n), number(s.value)) for words, s in steady.items()]
        yield table(("the question changed a little", "rows", "same score"), rows)


def _training(facts: Facts) -> str:
    steps = facts.compiled.timings.steps_ns
    rows = [("steps", "", f"{count(len(steps))} in {duration(sum(steps))}", "")]
    rows += [
        (e.name, e.planned, e.observed, "" if e.ratio is None else number(e.ratio, 2)) for e in facts.effort
    ]
    return table(("", "planned", "observed", "observed / planned"), rows)


def _data(facts: Facts) -> str:
    d, pack = facts.data, facts.pack
    near = "not looked for"
    if d.near is not None:
        near = f"{d.near.found} pairs found, {d.near.reviewed} reviewed as distinct, {d.near.waiting} waiting"
    rows = [
        (
            "training rows",
            f"{count(d.train)} in {count(d.groups)} groups; {d.truncated} shortened, {d.dropped} left out",
        ),
        ("training pictures", f"{count(d.pictures)} shown, {count(d.distinct)} different"),
        ("validation rows", count(d.validation)),
        (
            "eval rows",
            f"{count(d.eval)} with {count(d.eval_pictures)} pictures, {count(d.withheld)} of them withheld",
        ),
        ("eval pack", f"{short(pack.name)} version {short(pack.version)}"),
        ("look-alike pictures in both", near),
        ("who made it, who labelled it, consent", "not stated"),
    ]
    return table(("", ""), rows)


def _provenance(facts: Facts) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts.artifact.lock.versions.items())
    rows = [
        ("artifact", f"`{facts.artifact.cid}`"),
        ("receipt", f"`{facts.receipt.cid}`"),
        ("signed by", ", ".join(short(signer) for signer in facts.signers[:10])),
        ("eval pack", f"`{facts.pack.digest}`"),
        ("run", f"`{facts.compiled.run}`, {facts.compiled.started} to {facts.compiled.finished}"),
        ("versions", short(versions, 1000)),
    ]
    return table(("", ""), rows)
