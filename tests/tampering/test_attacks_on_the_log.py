"""Attacks 52 to 56, 63 and 65: proofs and checkpoints that show something else (attacks.md)."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kolm.errors import VerificationError
from kolm.keys import PrivateKey
from kolm.policy import Policy
from kolm.tlog.checkpoint import Checkpoint
from kolm.tlog.merkle import (
    check_inclusion,
    leaf_hash,
    node_hash,
)
from kolm.tlog.note import MAX_BYTES, Note, sign_note
from kolm.tlog.proof import LogProof
from kolm.trust import Revocation, TrustStore, trust_key, trust_log
from tests.bundles import Bundle
from tests.logs import TIME
from tests.tampering.lies import audit, failed
from tests.tampering.logs import NOW, PLACE, Ask, AttackedLog, entry_of, flipped, refused


def test_an_honest_proof_is_accepted(asked: Ask, log: AttackedLog) -> None:
    report = asked(log.opened(PLACE), seen=log.checkpoint(5), require_log=True, log_max_age_days=1)
    assert report.ok
    assert report.checks[18].status == "passed"


# 52 and 56: inclusion


def other_proofs(log: AttackedLog) -> Iterator[tuple[str, LogProof]]:
    honest = log.opened(PLACE)
    yield "a hash too many", replace(honest, hashes=(*honest.hashes, bytes(32)))
    yield "a hash too few", replace(honest, hashes=honest.hashes[:-1])
    yield "no hash", replace(honest, hashes=())
    yield "an index beyond the log", replace(honest, index=len(log.entries))
    yield "a huge index", replace(honest, index=2**62)


def test_attack_52_a_proof_of_another_form(asked: Ask, log: AttackedLog) -> None:
    for defect, proof in other_proofs(log):
        assert failed(asked(proof)) == (19, "E_LOG_INCLUSION"), defect


def test_attack_52_a_proof_of_the_right_form_with_a_flipped_hash_or_index(
    asked: Ask, log: AttackedLog
) -> None:
    honest, entry = log.opened(PLACE), log.entries[PLACE]
    others = [flipped(honest, place) for place in range(len(honest.hashes))]
    others += [replace(honest, index=index) for index in range(8) if index != PLACE]
    for proof in others:
        assert refused(lambda proof=proof: proof.check(entry, log.note_key)) == "E_LOG_INCLUSION"
        assert failed(asked(proof)) == (19, "E_LOG_LEAF")


def test_attack_52_a_proof_under_another_size(asked: Ask, log: AttackedLog) -> None:
    for size in (8, 17, 100):
        checkpoint = Checkpoint(log.origin, size, log.root()).signed(log.key, time=TIME)
        report = asked(log.opened(PLACE, checkpoint=checkpoint))
        assert failed(report) == (19, "E_LOG_INCLUSION"), size


def test_attack_56_a_leaf_that_is_two_hashes(asked: Ask, log: AttackedLog) -> None:
    """An inner node spelled as an entry of 64 bytes, and an entry hashed without its mark."""
    pair = b"".join(log.subtree(1, index) for index in (0, 1))
    shorter = replace(log.opened(0), hashes=log.opened(0).hashes[2:])
    assert refused(lambda: shorter.check(pair, log.note_key)) == "E_LOG_INCLUSION"
    left, right = (leaf_hash(entry) for entry in log.entries[:2])
    assert node_hash(left, right) != leaf_hash(left + right)
    unmarked = hashlib.sha256(log.entries[PLACE]).digest()
    with pytest.raises(VerificationError) as caught:
        check_inclusion(unmarked, index=PLACE, size=10, proof=log.opened(PLACE).hashes, root=log.root())
    assert caught.value.check == "E_LOG_INCLUSION"


# 53 to 55: whose checkpoint


def test_attack_53_a_checkpoint_of_another_log_by_the_same_key(asked: Ask, log: AttackedLog) -> None:
    text = Checkpoint("other.example/log", len(log.entries), log.root()).text
    note = sign_note(text, name=log.origin, key=log.key, time=TIME)
    assert failed(asked(log.opened(PLACE, checkpoint=note))) == (19, "E_LOG_ORIGIN")


def test_attack_53_a_checkpoint_of_an_unknown_key(asked: Ask, log: AttackedLog) -> None:
    for origin in (log.origin, "other.example/log"):
        stranger = replace(log, key=PrivateKey.generate(), origin=origin)
        assert failed(asked(stranger.opened(PLACE))) == (19, "E_LOG_KEY")


def test_attack_54_a_wrong_signature_of_the_log_beside_a_good_one_of_a_stranger(
    asked: Ask, log: AttackedLog
) -> None:
    stranger = replace(log, key=PrivateKey.generate(), origin="other.example/log")
    text = Note.parse(log.checkpoint()).text
    wrong = log.checkpoint(5).split(b"\n\n")[1]  # signs another text
    good = stranger.checkpoint().split(b"\n\n")[1]
    for lines in (wrong + good, good + wrong, wrong):
        note = text.encode() + b"\n" + lines
        assert failed(asked(log.opened(PLACE, checkpoint=note))) == (19, "E_NOTE_SIG")


@pytest.mark.parametrize("size", ["010", "+10", "-10", "10 ", "1e1", "0xa", "", str(2**63), "1_0"])
def test_attack_55_a_size_that_is_spelled_otherwise(asked: Ask, log: AttackedLog, size: str) -> None:
    text = Note.parse(log.checkpoint()).text.replace("\n10\n", f"\n{size}\n")
    note = sign_note(text, name=log.origin, key=log.key, time=TIME)
    assert failed(asked(log.opened(PLACE, checkpoint=note))) == (19, "E_NOTE_SYNTAX")


def notes(note: bytes) -> Iterator[tuple[str, bytes]]:
    yield "carriage returns", note.replace(b"\n", b"\r\n")
    yield "no blank line", note.replace(b"\n\n", b"\n")
    yield "no signature", note.split(b"\n\n")[0] + b"\n\n"
    yield "a control character", note.replace(b"\n10\n", b"\n10\n\x07\n")
    yield "a NUL", b"\x00" + note
    yield "no UTF-8", b"\xff" + note
    yield "no final newline", note[:-1]
    yield "too long", note.replace(b"\n\n", b"\n" + b"x" * MAX_BYTES + b"\n\n")
    yield "a hyphen for the dash", note.replace("\u2014".encode(), b"-")
    yield "nothing", b""


def test_attack_55_a_note_that_is_spelled_otherwise(asked: Ask, log: AttackedLog) -> None:
    for defect, note in notes(log.checkpoint()):
        assert refused(lambda note=note: Checkpoint.open(note, log.note_key)) == "E_NOTE_SYNTAX", defect
        proof = LogProof(PLACE, log.opened(PLACE).hashes, note).to_bytes() if note else b"x"
        assert failed(asked(proof)) == (19, "E_NOTE_SYNTAX"), defect


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"@v1", b"@v2"),
        (b"index 3", b"index 03"),
        (b"index 3", b"index -3"),
        (b"index 3", b"extra YQ==\nindex 3"),
        (b"index 3\n", b""),
        (b"index 3\n", b"index 3\nAAAA\n"),
        (b"\n\n", b"\n"),
    ],
)
def test_attack_55_a_proof_that_is_spelled_otherwise(
    asked: Ask, log: AttackedLog, old: bytes, new: bytes
) -> None:
    data = log.opened(PLACE).to_bytes()
    assert old in data
    assert failed(asked(data.replace(old, new))) == (19, "E_NOTE_SYNTAX")


# 63: before and after a revocation


def revoking(bundle: Bundle, log: AttackedLog, index: int | None, *subjects: str) -> Bundle:
    """Let the auditor know of a revocation that the log holds at `index`."""
    row = Revocation(NOW, "lost laptop", index, None if index is None else log.note_key)
    revocations = dict.fromkeys(subjects or (bundle.key.key_id,), row)
    return replace(bundle, trust=replace(bundle.trust, log=log.note_key, revocations=revocations))


@pytest.mark.parametrize("index", [None, 0, PLACE - 1, PLACE])
def test_attack_63_a_receipt_logged_after_its_key_was_revoked(
    bundle: Bundle, log: AttackedLog, index: int | None
) -> None:
    """The receipt says it was finished long before, and that is the revoked signer's word."""
    report = audit(revoking(bundle, log, index), proof=log.opened(PLACE).to_bytes(), now=NOW)
    assert failed(report) == (17, "E_REVOKED")


def test_attack_63_what_was_logged_before_stands_and_only_by_a_good_proof(
    bundle: Bundle, log: AttackedLog
) -> None:
    revoked, honest = revoking(bundle, log, PLACE + 1), log.opened(PLACE)
    assert audit(revoked, proof=honest.to_bytes(), now=NOW).ok
    stranger = replace(log, key=PrivateKey.generate())
    for proof in (None, flipped(honest, 0), log.opened(PLACE + 1), stranger.opened(PLACE)):
        report = audit(revoked, proof=proof and proof.to_bytes(), now=NOW)
        assert failed(report) == (17, "E_REVOKED")


def test_attack_63_the_place_of_a_revocation_in_another_log(bundle: Bundle, log: AttackedLog) -> None:
    """The thief logs in the log that is trusted what was revoked, at a large index, in another one."""
    for other in (
        replace(log, key=PrivateKey.generate()),
        replace(log, origin="other.example/log"),
    ):
        trust = revoking(bundle, other, 5000).trust
        lie = replace(bundle, trust=replace(trust, log=log.note_key))
        report = audit(lie, proof=log.opened(PLACE).to_bytes(), now=NOW)
        assert failed(report) == (17, "E_REVOKED")
        assert f"the log {other.origin} held before entry 5000" in report.checks[16].hint


def test_attack_63_a_revoked_artifact_stands_for_nothing(bundle: Bundle, log: AttackedLog) -> None:
    revoked = revoking(bundle, log, 9, bundle.cid)
    assert failed(audit(revoked, proof=log.opened(PLACE).to_bytes(), now=NOW)) == (17, "E_REVOKED")


# 65: parts of two bundles


def test_attack_65_the_proof_of_another_bundle(asked: Ask, log: AttackedLog) -> None:
    assert failed(asked(log.opened(PLACE + 1))) == (19, "E_LOG_LEAF")


def test_attack_65_the_proof_of_another_receipt_of_this_artifact(
    asked: Ask, log: AttackedLog, bundle: Bundle
) -> None:
    other = entry_of(bundle, b"another receipt")
    entries = (*log.entries[:PLACE], other, *log.entries[PLACE + 1 :])
    assert failed(asked(replace(log, entries=entries).opened(PLACE))) == (19, "E_LOG_LEAF")


def test_attack_65_no_proof_where_one_is_wanted(asked: Ask, bundle: Bundle, log: AttackedLog) -> None:
    assert failed(asked(None, require_log=True)) == (19, "E_POLICY")
    assert asked(None, require_log=False).ok
    unknown = TrustStore.of(bundle.key.public, policy=Policy(require_log=True))
    report = audit(replace(bundle, trust=unknown), proof=log.opened(PLACE).to_bytes(), now=NOW)
    assert failed(report) == (19, "E_POLICY")


@pytest.mark.parametrize(
    ("policy", "stripped"),
    [
        ("", (19, "E_POLICY")),
        ("log_max_age_days: 30", (19, "E_POLICY")),
        ("require_log: false", None),
        ("require_log: false\nlog_max_age_days: 30", None),
    ],
)
def test_attack_65_a_proof_that_was_taken_away(
    bundle: Bundle, log: AttackedLog, tmp_path: Path, policy: str, stripped: tuple[int, str] | None
) -> None:
    """Whoever trusts a log wants its proof, unless the policy says otherwise."""
    trust_key(tmp_path, bundle.key.public)
    trust_log(tmp_path, log.note_key.vkey)
    (tmp_path / "policy.yaml").write_text(policy)
    trusting = replace(bundle, trust=TrustStore.open(tmp_path))
    assert audit(trusting, proof=log.opened(PLACE).to_bytes(), now=NOW).ok
    report = audit(trusting, now=NOW)
    assert (None if report.ok else failed(report)) == stripped


def test_attack_65_the_age_of_a_proof_is_limited_and_there_is_none(bundle: Bundle, tmp_path: Path) -> None:
    trust_key(tmp_path, bundle.key.public)
    (tmp_path / "policy.yaml").write_text("log_max_age_days: 30")
    report = audit(replace(bundle, trust=TrustStore.open(tmp_path)), now=NOW)
    assert failed(report) == (19, "E_POLICY")
