"""What the verifying side asks for beyond true statements."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kolm.keys import PrivateKey
from kolm.policy import Policy
from kolm.trust import Revocation, TrustedKey, TrustStore
from kolm.verify import AuditReport, verify_bundle
from tests.bundles import Bundle, make_bundle
from tests.tampering.lies import audit, failed

FINISHED = datetime(2026, 1, 31, 12, 1, tzinfo=UTC)


def year(number: int) -> datetime:
    return datetime(number, 1, 1, tzinfo=UTC)


def audited_by(bundle: Bundle, trust: TrustStore) -> AuditReport:
    return verify_bundle(bundle.artifact_path, bundle.receipt, trust)


def test_attack_63_a_revoked_key_counts_for_nothing(bundle: Bundle) -> None:
    revocations = {bundle.key.key_id: Revocation(year(2030), "lost laptop")}
    assert failed(audited_by(bundle, replace(bundle.trust, revocations=revocations))) == (17, "E_REVOKED")


@pytest.mark.parametrize(
    ("from_", "until", "counts"),
    [
        (None, None, True),
        (year(2026), year(2027), True),
        (year(2025), year(2026), False),
        (year(2027), None, False),
        (FINISHED, None, True),
        (None, FINISHED, False),
    ],
)
def test_a_key_counts_in_its_window(
    bundle: Bundle, from_: datetime | None, until: datetime | None, counts: bool
) -> None:
    trusted = TrustedKey(bundle.key.public, from_, until)
    report = audited_by(bundle, TrustStore(keys={bundle.key.key_id: trusted}))
    assert report.ok is counts
    if not counts:
        assert failed(report) == (17, "E_KEY_UNTRUSTED")
        assert f"{FINISHED:%Y-%m-%dT%H:%M:%SZ}" in report.checks[16].detail


def test_require_pass_refuses_another_verdict(bundle: Bundle) -> None:
    demanding = TrustStore.of(bundle.key.public, policy=Policy(require_pass=True))
    assert failed(audited_by(bundle, demanding)) == (17, "E_POLICY")
    assert audit(bundle).verdict == "INCONCLUSIVE"


def test_require_pass_takes_a_pass(tmp_path: Path, key: PrivateKey) -> None:
    passing = make_bundle(tmp_path, key=key)
    demanding = TrustStore.of(key.public, policy=Policy(require_pass=True))
    report = audited_by(passing, demanding)
    assert report.ok
    assert report.verdict == "PASS"


def test_attack_63_a_receipt_from_the_future(bundle: Bundle) -> None:
    assert failed(audit(bundle, now=year(2026))) == (17, "E_POLICY")
