"""Verification summaries: a verifier's signed word that an artifact passed an audit (SLSA VSA v1).

Whoever trusts the verifier's key may take it instead of an audit of their own; it says less than the receipt.
"""

from datetime import UTC, datetime
from typing import Any

from kolm import __version__
from kolm.canonical import canonical_json
from kolm.cid import digest_of, sha256_hex
from kolm.dsse import sign_envelope
from kolm.errors import SigningError
from kolm.keys import PrivateKey
from kolm.statements import STATEMENT
from kolm.trust import Policy
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
    moment = (at or datetime.now(UTC)).astimezone(UTC)
    predicate: dict[str, Any] = {
        "verifier": {"id": verifier, "version": {"kolm": __version__}},
        "timeVerified": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
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
