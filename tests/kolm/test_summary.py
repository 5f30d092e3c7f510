"""Verification summaries, read as a stranger would: an envelope, a statement, nothing for a receipt."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.vsa.v1.vsa_pb2 import VerificationSummary

from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import cid_of, digest_of, sha256_hex
from kolm.dsse import open_envelope
from kolm.errors import SigningError, VerificationError
from kolm.keys import PrivateKey
from kolm.policy import Policy
from kolm.statements import parse_statement
from kolm.summary import failed_summary, verification_summary
from kolm.trust import TrustStore
from kolm.verify import AuditReport, verify_bundle
from tests.bundles import Bundle, make_bundle

KEY = PrivateKey.generate()
AT = datetime(2026, 5, 1, tzinfo=UTC)
VERIFIER = "urn:kolm:registry:test"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"), rows=2)


@pytest.fixture(scope="module")
def report(bundle: Bundle) -> AuditReport:
    return verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust)


def payload_of(envelope: bytes) -> bytes:
    return open_envelope(parse_canonical(envelope, what="summary"), TrustStore.of(KEY.public)).payload


def test_a_summary_names_artifact_receipt_result_and_level(bundle: Bundle, report: AuditReport) -> None:
    statement = json.loads(payload_of(verification_summary(report, KEY, verifier=VERIFIER, at=AT)))
    predicate = statement["predicate"]
    sha256 = digest_of(bundle.cid).hex()
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert statement["subject"] == [{"name": "digits.kolm", "digest": {"sha256": sha256}}]
    assert predicate["verifier"]["id"] == VERIFIER
    assert predicate["timeVerified"] == "2026-05-01T00:00:00Z"
    assert predicate["resourceUri"] == f"urn:kolm:artifact:{bundle.cid}"
    assert predicate["inputAttestations"][0]["digest"] == {"sha256": sha256_hex(bundle.receipt)}
    assert predicate["inputAttestations"][0]["uri"].endswith(cid_of(bundle.receipt))
    assert predicate["verificationResult"] == "PASSED"
    assert predicate["verifiedLevels"] == ["SLSA_BUILD_LEVEL_1", "KOLM_GATE_INCONCLUSIVE"]


def test_a_summary_keeps_the_rules_of_its_specification(report: AuditReport) -> None:
    """SLSA 1.1, Verification Summary Attestation: Fields, SlsaResult."""
    predicate = json.loads(payload_of(verification_summary(report, KEY, verifier=VERIFIER)))["predicate"]
    levels = predicate["verifiedLevels"]
    assert [level for level in levels if level.startswith("SLSA_")] == ["SLSA_BUILD_LEVEL_1"]
    assert predicate["slsaVersion"] == "1.1"  # the first with `verifier.version`
    assert all(each["digest"] for each in predicate["inputAttestations"])
    # The protobuf of in-toto has one text for `verifiedLevels`, where the specification has a list of them.
    read = json_format.ParseDict(
        predicate | {"verifiedLevels": levels[0]}, VerificationSummary(), ignore_unknown_fields=True
    )
    assert (read.verifier.id, read.policy.uri) == (VERIFIER, "urn:kolm:policy:v1")
    assert read.input_attestations[0].digest == predicate["inputAttestations"][0]["digest"]


def test_a_summary_that_failed_has_one_level_and_is_made_of_ones_own(report: AuditReport) -> None:
    """SLSA 1.1, Verification Summary Attestation: `FAILED` is a result, and then the only level."""
    passed = verification_summary(report, KEY, verifier=VERIFIER, at=AT)
    failed = failed_summary(passed, KEY, at=AT.replace(month=6))
    before, since = (json.loads(payload_of(each)) for each in (passed, failed))
    assert since["predicate"].pop("timeVerified") == "2026-06-01T00:00:00Z"
    said = [since["predicate"].pop(name) for name in ("verificationResult", "verifiedLevels")]
    assert said == ["FAILED", ["FAILED"]]
    kept = {name: before["predicate"][name] for name in since["predicate"]}
    assert since == before | {"predicate": kept}
    with pytest.raises(VerificationError) as caught:
        failed_summary(passed, PrivateKey.generate(), at=AT)
    assert caught.value.check == "E_KEY_UNTRUSTED"


def test_the_policy_is_named_by_its_digest(report: AuditReport) -> None:
    digests = {
        json.loads(payload_of(verification_summary(report, KEY, verifier=VERIFIER, policy=policy)))[
            "predicate"
        ]["policy"]["digest"]["sha256"]
        for policy in (None, Policy(), Policy(require_pass=True), Policy(log_max_age_days=3))
    }
    assert len(digests) == 3


def test_an_audit_that_failed_is_not_summarised(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "x.kolm").write_bytes(b"garbage")
    for audit in (
        verify_bundle(bundle.artifact_path, bundle.receipt, TrustStore.of()),
        verify_bundle(tmp_path / "x.kolm", None, TrustStore.of()),
    ):
        with pytest.raises(SigningError, match="only an audit that passed"):
            verification_summary(audit, KEY, verifier=VERIFIER)


def test_a_summary_is_no_statement_of_a_receipt(bundle: Bundle, report: AuditReport) -> None:
    payload = payload_of(verification_summary(report, KEY, verifier=VERIFIER))
    with pytest.raises(VerificationError) as caught:
        parse_statement(payload)
    assert caught.value.check == "E_STATEMENT_TYPE"
    summary = json.loads(verification_summary(report, bundle.key, verifier=VERIFIER))
    receipt = json.loads(bundle.receipt)
    receipt["envelopes"][-1] = summary
    lie = verify_bundle(bundle.artifact_path, canonical_json(receipt), bundle.trust)
    assert lie.failure is not None
    assert (lie.failure.number, lie.failure.code) == (6, "E_STATEMENT_TYPE")
