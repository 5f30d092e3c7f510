"""Check 19: what a log proof shows, what a false one does, and what it saves from a revocation."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kolm.entries import receipt_entry
from kolm.keys import PrivateKey
from kolm.policy import Policy
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.note import NoteKey, sign_note
from kolm.tlog.proof import LogProof
from kolm.trust import Revocation, TrustStore
from kolm.verify import AuditReport, verify_bundle
from tests.bundles import Bundle, make_bundle
from tests.logs import TIME, Log
from tests.tampering.lies import failed

NOW = datetime.fromtimestamp(TIME, UTC) + timedelta(days=3)
MIDDLE = 4
SIZE = 11


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"), rows=2)


@pytest.fixture(scope="module")
def log(bundle: Bundle) -> Log:
    """A log of eleven entries, of which number four is the bundle's."""
    receipt = verify_bundle(bundle.artifact_path, bundle.receipt, bundle.trust).receipt
    assert receipt is not None
    log = Log([b"entry %d" % n for n in range(SIZE)])
    log.entries[MIDDLE] = receipt_entry(bundle.cid, receipt)
    return log


@pytest.fixture
def trust(bundle: Bundle, log: Log) -> TrustStore:
    return replace(bundle.trust, log=log.note_key)


def audit(bundle: Bundle, trust: TrustStore, proof: bytes | None, **options: object) -> AuditReport:
    options = {"now": NOW} | options
    return verify_bundle(bundle.artifact_path, bundle.receipt, trust, proof=proof, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", range(MIDDLE + 1, SIZE + 1))
def test_a_receipt_in_the_log_is_found(bundle: Bundle, trust: TrustStore, log: Log, size: int) -> None:
    report = audit(bundle, trust, log.proof(MIDDLE, size))
    check = report.checks[18]
    assert (check.number, check.id, check.status, check.evidence) == (19, "log", "passed", "recomputed")
    assert f"entry {MIDDLE} of {size} in kolm-registry/test" in check.detail


def test_without_proof_or_log_the_check_is_not_made(bundle: Bundle, trust: TrustStore, log: Log) -> None:
    for store, proof, said in (
        (trust, None, "there is no proof"),
        (bundle.trust, log.proof(MIDDLE), "no log is trusted here"),
    ):
        report = audit(bundle, store, proof)
        check = report.checks[18]
        assert report.ok
        assert (check.status, check.evidence, said in check.detail) == ("skipped", "absent", True)
        demanding = replace(store, policy=Policy(require_log=True))
        assert failed(audit(bundle, demanding, proof)) == (19, "E_POLICY")
    assert audit(bundle, replace(trust, policy=Policy(require_log=True)), log.proof(MIDDLE)).ok


def test_a_proof_of_another_entry_is_refused(bundle: Bundle, trust: TrustStore, log: Log) -> None:
    for index in range(SIZE):
        if index != MIDDLE:
            assert failed(audit(bundle, trust, log.proof(index))) == (19, "E_LOG_LEAF")


def test_a_proof_of_another_receipt_is_refused(
    bundle: Bundle, trust: TrustStore, log: Log, tmp_path: Path
) -> None:
    other = make_bundle(tmp_path, rows=2, key=bundle.key, seed=5)
    report = verify_bundle(other.artifact_path, other.receipt, trust, proof=log.proof(MIDDLE), now=NOW)
    assert failed(report) == (19, "E_LOG_LEAF")


def broken(proof: bytes, **parts: object) -> bytes:
    return replace(LogProof.parse(proof), **parts).to_bytes()  # type: ignore[arg-type]


def test_a_proof_of_the_wrong_shape_is_refused(bundle: Bundle, trust: TrustStore, log: Log) -> None:
    proof = log.proof(MIDDLE)
    hashes = LogProof.parse(proof).hashes
    for lie in (
        broken(proof, index=SIZE),
        broken(proof, index=2**62),
        broken(proof, hashes=hashes[:-1]),
        broken(proof, hashes=(*hashes, hashes[0])),
        broken(proof, hashes=()),
    ):
        assert failed(audit(bundle, trust, lie)) == (19, "E_LOG_INCLUSION")


def test_a_checkpoint_of_someone_else_is_refused(bundle: Bundle, trust: TrustStore, log: Log) -> None:
    proof = log.proof(MIDDLE)
    stranger = Log(log.entries)
    assert failed(audit(bundle, trust, stranger.proof(MIDDLE))) == (19, "E_LOG_KEY")
    renamed = Log(log.entries, key=log.key, origin="kolm-registry/other")
    assert failed(audit(bundle, trust, renamed.proof(MIDDLE))) == (19, "E_LOG_KEY")
    lent = Checkpoint("kolm-registry/other", SIZE, b"\0" * 32).text
    note = sign_note(lent, name=log.origin, key=log.key, time=TIME)
    assert failed(audit(bundle, trust, broken(proof, checkpoint=note))) == (19, "E_LOG_ORIGIN")


def test_a_wrong_signature_is_refused(bundle: Bundle, trust: TrustStore, log: Log) -> None:
    proof = log.proof(MIDDLE)
    larger = proof.replace(b"\n11\n", b"\n12\n")
    assert larger != proof
    assert failed(audit(bundle, trust, larger)) == (19, "E_NOTE_SIG")


@pytest.mark.parametrize("lie", [b"", b"\xff", b"c2sp.org/tlog-proof@v1\n", b"x" * 200_000])
def test_what_is_no_proof_is_refused(bundle: Bundle, trust: TrustStore, lie: bytes) -> None:
    assert failed(audit(bundle, trust, lie)) == (19, "E_NOTE_SYNTAX")


@pytest.mark.parametrize(
    ("days", "time", "holds"),
    [
        (None, TIME, True),
        (3, TIME, True),
        (2.9, TIME, False),
        (0, TIME, False),
        (10, TIME + 5 * 86_400, False),
    ],
)
def test_a_checkpoint_may_be_too_old(
    bundle: Bundle, trust: TrustStore, log: Log, days: float | None, time: int, holds: bool
) -> None:
    strict = replace(trust, policy=Policy(log_max_age_days=days))
    report = audit(bundle, strict, log.proof(MIDDLE, time=time))
    assert report.ok is holds
    if not holds:
        assert failed(report) == (19, "E_LOG_STALE")


def test_a_time_beyond_any_calendar_is_refused(bundle: Bundle, trust: TrustStore, log: Log) -> None:
    strict = replace(trust, policy=Policy(log_max_age_days=1))
    assert failed(audit(bundle, strict, log.proof(MIDDLE, time=2**63))) == (19, "E_LOG_STALE")


def test_a_checkpoint_without_a_time_is_refused(bundle: Bundle, trust: TrustStore, log: Log) -> None:
    untimed = log.proof(MIDDLE).rsplit(b"\xe2\x80\x94", 1)[0]
    assert failed(audit(bundle, trust, untimed)) == (19, "E_LOG_STALE")


def test_a_log_does_not_go_back(bundle: Bundle, trust: TrustStore, log: Log) -> None:
    for size, ok in ((SIZE - 1, True), (SIZE, True)):
        assert audit(bundle, trust, log.proof(MIDDLE), seen=log.checkpoint(size)).ok is ok
    older = audit(bundle, trust, log.proof(MIDDLE, SIZE - 1), seen=log.checkpoint())
    assert failed(older) == (19, "E_LOG_ROLLBACK")
    forked = Log([*log.entries[:-1], b"another"], key=log.key)
    report = audit(bundle, trust, log.proof(MIDDLE), seen=forked.checkpoint())
    assert failed(report) == (19, "E_LOG_EQUIVOCATION")
    report = audit(bundle, trust, log.proof(MIDDLE), seen=Log(log.entries).checkpoint())
    assert failed(report) == (19, "E_LOG_KEY")


@pytest.mark.parametrize(
    ("index", "proven", "good"),
    [(None, True, False), (MIDDLE, True, False), (MIDDLE + 1, True, True), (MIDDLE + 1, False, False)],
)
def test_what_was_logged_before_the_key_was_revoked_stays_good(
    bundle: Bundle, trust: TrustStore, log: Log, index: int | None, proven: bool, good: bool
) -> None:
    revoked = {
        bundle.key.key_id: Revocation(NOW, "lost laptop", index, None if index is None else log.note_key)
    }
    report = audit(bundle, replace(trust, revocations=revoked), log.proof(MIDDLE) if proven else None)
    assert report.ok is good
    if not good:
        assert failed(report) == (17, "E_REVOKED")
        assert ("--proof" in report.checks[16].hint) == (index is not None and not proven)


def test_a_false_proof_does_not_save_a_revoked_key(bundle: Bundle, trust: TrustStore, log: Log) -> None:
    revoked = replace(
        trust, revocations={bundle.key.key_id: Revocation(NOW, "lost laptop", SIZE, log.note_key)}
    )
    assert failed(audit(bundle, revoked, log.proof(MIDDLE - 1))) == (17, "E_REVOKED")
    stranger = replace(revoked, log=NoteKey(log.origin, PrivateKey.generate().public))
    assert failed(audit(bundle, stranger, log.proof(MIDDLE))) == (17, "E_REVOKED")


def test_a_revoked_artifact_counts_for_nothing_whenever_it_was_logged(
    bundle: Bundle, trust: TrustStore, log: Log
) -> None:
    revoked = replace(trust, revocations={bundle.cid: Revocation(NOW, "wrong labels", SIZE, log.note_key)})
    assert failed(audit(bundle, revoked, log.proof(MIDDLE))) == (17, "E_REVOKED")


def test_a_checkpoint_of_the_auditor_s_that_cannot_be_read_is_told_from_the_proof(
    bundle: Bundle, trust: TrustStore, log: Log
) -> None:
    report = audit(bundle, trust, log.proof(MIDDLE), seen=b"nothing")
    assert failed(report) == (19, "E_NOTE_SYNTAX")
    assert report.checks[18].detail.startswith("the checkpoint seen last: not a signed note")
