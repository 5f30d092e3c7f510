"""Verification summaries: a verifier's signed word on whether an artifact passed its audit (SLSA VSA v1).

Whoever trusts the verifier's key may take it instead of an audit of their own; it says less than the receipt.
"""

from datetime import UTC, datetime
from typing import Any

from kolm import __version__
from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import digest_of, sha256_hex
from kolm.dsse import open_envelope, sign_envelope
from kolm.errors import SigningError
from kolm.instants import spell_instant
from kolm.keys import PrivateKey
from kolm.policy import Policy
from kolm.statements import STATEMENT
from kolm.trust import TrustStore
from kolm.verify import AuditReport

SUMMARY = "https://slsa.dev/verification_summary/v1"
LEVEL = "SLSA_BUILD_LEVEL_1"
"""A compile on the publisher's own machine: there is provenance, signed by the one who built."""


def verification_summary(
    report: AuditReport,
    key: PrivateKey,
    *,
    verifier: str,
    policy: Policy | None = None,
    at: datetime | None = None,
) -> bytes:
    """Return the signed envelope of a summary of an audit that found nothing wrong.

    `verifier` is a URI that names who verified, `key` that verifier's own, `policy` what was asked for beyond
    true statements. Raises SigningError for an audit that failed.
    """
    if not report.ok or report.compile is None or report.artifact is None or report.receipt is None:
        raise SigningError("only an audit that passed can be summarised", hint="see its first failed check")
    name, receipt = f"{report.compile.name}.kolm", report.receipt
    asked = canonical_json(vars(policy or Policy()))
    predicate: dict[str, Any] = {
        "verifier": {"id": verifier, "version": {"kolm": __version__}},
        "timeVerified": spell_instant(at or datetime.now(UTC)),
        "resourceUri": f"urn:kolm:artifact:{report.artifact}",
        "policy": {"uri": "urn:kolm:policy:v1", "digest": {"sha256": sha256_hex(asked)}},
        "inputAttestations": [
            {"uri": f"urn:kolm:receipt:{receipt}", "digest": {"sha256": digest_of(receipt).hex()}}
        ],
        "verificationResult": "PASSED",
        "verifiedLevels": [LEVEL, f"KOLM_GATE_{report.verdict}"],
        "slsaVersion": "1.1",
    }
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest_of(report.artifact).hex()}}],
        "predicateType": SUMMARY,
        "predicate": predicate,
    }
    return canonical_json(sign_envelope(canonical_json(statement), key))


def failed_summary(passed: bytes, key: PrivateKey, *, at: datetime) -> bytes:
    """Return what the verifier says of an artifact since `at`, when what it had summarised was revoked.

    `passed` is the summary that the same key signed before. A summary that failed has the one level FAILED
    (SLSA 1.1, SlsaResult). Raises ArtifactError, VerificationError for a summary that is not this key's.
    """
    envelope = parse_canonical(passed, what="summary")
    payload = open_envelope(envelope, TrustStore.of(key.public)).payload
    statement = parse_canonical(payload, what="summary")
    statement["predicate"] |= {
        "timeVerified": spell_instant(at),
        "verificationResult": "FAILED",
        "verifiedLevels": ["FAILED"],
    }
    return canonical_json(sign_envelope(canonical_json(statement), key))
