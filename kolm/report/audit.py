"""The outcome of an audit as one page to print: each claim under what shows it, each check by its number."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from kolm import __version__
from kolm.policy import Policy
from kolm.predicates import CompilePredicate
from kolm.report.facts import LIMITS
from kolm.report.numbers import count, duration, size
from kolm.report.page import laid_out
from kolm.trust import TrustStore
from kolm.verify import AuditReport, Check
from kolm.visible import printable

Group = Literal["recomputed", "replayed or replayable", "signed only", "absent"]

MEANINGS: dict[Group, str] = {
    "recomputed": "Follows from the bytes at hand, but for what a line itself calls the signer's word.",
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

_NAMED = ("artifact", "receipt", "proof", "checkpoint", "base")
"""The files of an audit, as `Asked` has them."""


@dataclass(frozen=True)
class Claim:
    """One thing that artifact or receipt claim, what shows it, and how."""

    group: Group
    text: str
    detail: str
    check: int | None = None
    """The check that answered."""
    code: str | None = None


@dataclass(frozen=True)
class Asked:
    """What an audit was made of, and whose word counted: the page says it, so that it can be made again."""

    artifact: str
    """The file, and the registry that it was taken from, if it was; so too for receipt and proof."""
    receipt: str
    trust: TrustStore
    cid: str | None = None
    """Of the file's bytes, also where they are no container."""
    proof: str | None = None
    checkpoint: str | None = None
    base: str | None = None


def audit_page(audit: AuditReport, asked: Asked, *, at: datetime | None = None) -> str:
    """Lay out the page; `at` is when the audit was made, if not when it says."""
    moment = (at or audit.at).astimezone(UTC)
    claims = list(_claims(audit))
    return laid_out(
        "audit.html.j2",
        audit=audit,
        asked={name: printable(getattr(asked, name) or "") for name in _NAMED},
        cid=asked.cid,
        named=printable(audit.compile.name) if audit.compile else "An artifact",
        keys=[(keyid, _key(keyid, asked.trust)) for keyid in audit.keys],
        trusted=_trusted(asked.trust),
        policy=policy_words(asked.trust.policy),
        failure=printable(audit.failure.detail) if audit.failure else "",
        hint=printable(audit.failure.hint) if audit.failure else "",
        unmade=[(c, printable(c.detail)) for c in audit.checks if c.status == "skipped"],
        made=f"{moment:%Y-%m-%d %H:%M} UTC with kolm {__version__}",
        groups=[(group, [c for c in claims if c.group == group]) for group in get_args(Group)],
        meanings=MEANINGS,
        not_said=NOT_SAID,
        checks=[(c, _group(c), printable(c.detail), printable(c.hint)) for c in audit.checks],
    )


def policy_words(policy: Policy) -> str:
    """Say what a trust directory asks for beyond true statements, defaults included."""
    age, share = policy.log_max_age_days, policy.replay_mismatch
    return "; ".join(
        (
            "the gate must say PASS" if policy.require_pass else "any verdict of the gate will do",
            "a log proof is required" if policy.require_log else "no log proof is required",
            "its checkpoint may have any age"
            if age is None
            else f"its checkpoint is at most {age:g} days old",
            "every replayed output must match" if not share else f"on another machine {share:.0%} may differ",
        )
    )


def _key(keyid: str, trust: TrustStore) -> str:
    """Say whose key it is and for how long it counts, as the trust directory has it."""
    key = trust.keys.get(keyid)
    if key is None:
        return ""
    window = ((word, at) for word, at in (("from", key.from_), ("until", key.until)) if at is not None)
    return printable(
        ", ".join(
            [
                f"trusted as {key.label or 'a key without a label'}",
                *(f"{w} {at:%Y-%m-%d %H:%M} UTC" for w, at in window),
            ]
        )
    )


def _trusted(trust: TrustStore) -> str:
    """Say which trust directory counted, and what is in it."""
    log = f"log {trust.log.name}" if trust.log else "no log"
    keys, revoked = count(len(trust.keys)), count(len(trust.revocations))
    return printable(f"{trust.dir or 'keys given'}: keys {keys}, revocations {revoked}, {log}")


def _claims(audit: AuditReport) -> Iterator[Claim]:
    for check in audit.checks:
        yield Claim(_group(check), check.title, printable(check.detail), check.number, check.code)
    if audit.compile is not None:
        yield from _signed(audit.compile)


def _group(check: Check) -> Group:
    """Say where a claim stands."""
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
