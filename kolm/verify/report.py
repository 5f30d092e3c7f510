"""What an audit found: one line for each numbered check, and what the whole comes to."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from kolm import __version__
from kolm.instants import spell_instant
from kolm.policy import Policy
from kolm.predicates import CompilePredicate
from kolm.trust import TrustStore
from kolm.verify.replayer import Replayed

Status = Literal["passed", "failed", "skipped"]

Evidence = Literal["recomputed", "replayed", "signed only", "absent"]
"""Where the answer comes from: the bytes at hand, the models at hand, the signer's word, or nowhere.

The word of a signer whom nobody trusts is nowhere.
"""


@dataclass(frozen=True)
class Check:
    """The outcome of one check of specs/formats/verification.md."""

    number: int
    id: str
    title: str
    status: Status
    evidence: Evidence
    code: str | None
    """A code of specs/formats/verification.md 3 if it failed."""
    detail: str
    hint: str = ""
    """What the auditor can do about a failure."""

    def to_json(self) -> dict[str, Any]:
        """Return the check as one JSON object."""
        return {
            "number": self.number,
            "id": self.id,
            "title": self.title,
            "status": self.status,
            "evidence": self.evidence,
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
        }


@dataclass(frozen=True)
class AuditReport:
    """The outcome of every check, in order."""

    artifact: str | None
    """CID of the artifact's bytes, if it is a container at all."""
    receipt: str | None
    """CID of the receipt's bytes, if it could be read."""
    keys: tuple[str, ...]
    """Ids of the trusted keys that signed, if all signatures hold."""
    checks: tuple[Check, ...]
    at: datetime
    """When the audit was made."""
    policy: Policy
    """What it asked for beyond true statements."""
    compile: CompilePredicate | None = field(default=None, repr=False)
    """The compile statement, once its signature, schema and subject were found to be right."""
    replayed: Replayed | None = None
    """What the models said at level 1, if check 18 was made."""

    @property
    def failure(self) -> Check | None:
        """The first check that failed."""
        return next((check for check in self.checks if check.status == "failed"), None)

    @property
    def ok(self) -> bool:
        """Whether nothing failed; a skipped check then lacks an optional input, never a fact."""
        return self.failure is None

    @property
    def verdict(self) -> str | None:
        """The gate's verdict (`PASS`, `FAIL`, `INCONCLUSIVE`), if check 16 recomputed it."""
        scored = any(check.id == "scores" and check.status == "passed" for check in self.checks)
        return self.compile.k_score.gate.verdict if scored and self.compile else None

    def to_json(self, *, trust: TrustStore | None = None) -> dict[str, Any]:
        """Return the report as one JSON object; with `trust`, it says which trust directory counted."""
        failure = self.failure
        return {
            "kind": "kolm-audit/1",
            "at": spell_instant(self.at),
            "kolm": __version__,
            "policy": asdict(self.policy),
            "trust": trust and _described(trust),
            "ok": self.ok,
            "verdict": self.verdict,
            "artifact": self.artifact,
            "receipt": self.receipt,
            "keys": list(self.keys),
            "failure": failure.to_json() if failure else None,
            "replay": self.replayed.to_json() if self.replayed else None,
            "checks": [check.to_json() for check in self.checks],
        }


def _described(trust: TrustStore) -> dict[str, Any]:
    """Say which trust directory counted, and what is in it."""
    return {
        "dir": str(trust.dir) if trust.dir else None,
        "keys": sorted(trust.keys),
        "revocations": len(trust.revocations),
        "log": trust.log.vkey if trust.log else None,
    }
