"""The outcome of an audit as one page to print: each claim under what shows it, each check by its number."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from kolm.predicates import CompilePredicate
from kolm.report.facts import LIMITS
from kolm.report.numbers import count, duration, size
from kolm.report.page import environment
from kolm.verify import AuditReport, Check
from kolm.visible import printable

Group = Literal["recomputed", "replayed or replayable", "signed only", "absent"]

MEANINGS: dict[Group, str] = {
    "recomputed": "Follows from the bytes at hand. Nobody has to be believed.",
    "replayed or replayable": "Follows from what the models say when they are asked again.",
    "signed only": "The word of whoever holds the signing key.",
    "absent": "Nothing at hand shows it, or what was shown is wrong.",
}
"""What each group is worth, in the order of the page."""

NOT_SAID = (
    *LIMITS,
    "Which parameter belongs to the vision tower and which to the projector: the manifest's word.",
    "Whether anything was revoked that this trust directory does not know of; kolm log reads a log.",
)
"""What no audit says (specs/formats/verification.md 7)."""


@dataclass(frozen=True)
class Claim:
    """One thing that artifact or receipt claim, what shows it, and how."""

    group: Group
    text: str
    detail: str
    check: int | None = None
    """The check that answered."""
    code: str | None = None


def audit_page(audit: AuditReport, *, at: datetime | None = None) -> str:
    """Lay out the page; `at` is when the audit was made, now unless given."""
    style = environment().get_template("style.css.j2").render(slices=0, kinds={})
    moment = (at or datetime.now(UTC)).astimezone(UTC)
    claims = list(_claims(audit))
    return str(
        environment()
        .get_template("audit.html.j2")
        .render(
            audit=audit,
            at=f"{moment:%Y-%m-%d %H:%M} UTC",
            named=printable(audit.compile.name) if audit.compile else "An artifact",
            groups=[(group, [c for c in claims if c.group == group]) for group in get_args(Group)],
            meanings=MEANINGS,
            not_said=NOT_SAID,
            checks=[(check, printable(check.detail), printable(check.hint)) for check in audit.checks],
            style=style,
            style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        )
    )


def _claims(audit: AuditReport) -> Iterator[Claim]:
    for check in audit.checks:
        detail = printable(check.detail)
        yield Claim(_group(check), check.title, detail, check.number, check.code)
    if audit.compile is not None:
        yield from _signed(audit.compile)


def _group(check: Check) -> Group:
    if check.evidence == "replayed" or (check.id == "replay" and check.evidence == "signed only"):
        return "replayed or replayable"
    return check.evidence


def _signed(compiled: CompilePredicate) -> Iterator[Claim]:
    """Claims of the compile statement that no check can look behind."""
    timings, alike = compiled.timings, compiled.data.near_duplicates
    yield from (
        Claim("signed only", text, printable(detail))
        for text, detail in (
            ("when the compile ran", f"{compiled.started} to {compiled.finished}"),
            ("how long the answers took", f"{count(len(timings.rows))} rows timed"),
            (
                "how long the training took",
                f"{duration(sum(timings.steps_ns))} for {len(timings.steps_ns)} steps",
            ),
            ("how much memory it took", size(compiled.memory.peak_bytes)),
            ("how often this pack was scored before and with this run", count(compiled.k_score.attempts)),
            ("what it ran on", _machine(compiled)),
            ("the licence of the base", compiled.base.licence or "not stated"),
        )
    )
    text = "that near duplicates of eval pictures were looked for"
    if alike is None:
        yield Claim("absent", text, "nobody looked")
    else:
        counted = f"{alike.found} pairs found, {alike.reviewed} reviewed as distinct, {alike.waiting} waiting"
        yield Claim("signed only", text, counted)


def _machine(compiled: CompilePredicate) -> str:
    flat = {name: value for name, value in compiled.environment.items() if not isinstance(value, dict | list)}
    return ", ".join(f"{name} {value}" for name, value in flat.items())
