"""Whoever has no key can change nothing: not a byte of the artifact, not a field of the receipt."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kolm.canonical import canonical_json
from kolm.dsse import open_envelope
from kolm.errors import CheckedError
from kolm.keys import PrivateKey
from kolm.receipt import Receipt
from kolm.trust import TrustStore
from kolm.verify import verify_bundle
from tests.bundles import Bundle
from tests.tampering.lies import audit, changed, failed, leaves, payloads, resigned

ONCE = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

RECORDS = {
    *("E_ZIP_PREFIX", "E_ZIP_LAYOUT", "E_ZIP_NAME", "E_ZIP_HEADER_MISMATCH", "E_ZIP_EOCD", "E_ZIP64"),
    *("E_ZIP_METHOD", "E_ZIP_EXTRA", "E_ZIP_TYPE", "E_ZIP_OVERLAP"),
}
"""What a flipped byte of a record is found as: the record is wrong, whatever the CID is."""


def flipped(data: bytes, place: int, bit: int = 0) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def test_the_untouched_bundle_verifies(bundle: Bundle) -> None:
    assert audit(bundle).ok


@ONCE
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_one_bit_flip_in_the_artifact_fails(
    bundle: Bundle, tmp_path: Path, share: float, bit: int
) -> None:
    data = bundle.artifact_path.read_bytes()
    path = tmp_path / "flipped.kolm"
    path.write_bytes(flipped(data, int(share * len(data)), bit))
    report = verify_bundle(path, bundle.receipt, bundle.trust)
    assert failed(report)[0] in (1, 2, 4)


@pytest.mark.parametrize("region", ["start", "end"])
def test_attack_02_a_flipped_byte_of_the_first_or_last_record(
    bundle: Bundle, tmp_path: Path, region: str
) -> None:
    data = bundle.artifact_path.read_bytes()
    path = tmp_path / "flipped.kolm"
    header = range(30 + len("manifest.json"))
    for place in header if region == "start" else range(len(data) - 48, len(data)):
        path.write_bytes(flipped(data, place))
        number, code = failed(verify_bundle(path, bundle.receipt, bundle.trust))
        assert number == 1, place
        assert code in RECORDS, (place, code)


def test_every_leaf_of_the_receipt_counts(bundle: Bundle) -> None:
    document = json.loads(bundle.receipt)
    for path in leaves(document):
        report = audit(bundle, canonical_json(changed(document, path)))
        expected = {
            "kind": {"E_SCHEMA"},
            "artifact": {"E_CID_SYNTAX", "E_SUBJECT_MISMATCH"},
            "payloadType": {"E_PAYLOAD_TYPE"},
            "payload": {"E_SIG_INVALID", "E_ENVELOPE"},
            "keyid": {"E_KEY_UNTRUSTED"},
            "sig": {"E_SIG_INVALID", "E_ENVELOPE", "E_KEY_WEAK"},
        }[str(path[-1])]
        assert failed(report)[1] in expected, path


def test_every_leaf_of_every_signed_payload_counts(bundle: Bundle) -> None:
    """The signature check is asked directly: check 5 is nothing else, and there are many leaves."""
    envelopes = json.loads(bundle.receipt)["envelopes"]
    count = 0
    for envelope, statement in zip(envelopes, payloads(bundle.receipt), strict=True):
        for path in leaves(statement):
            payload = base64.b64encode(canonical_json(changed(statement, path))).decode()
            with pytest.raises(CheckedError) as caught:
                open_envelope({**envelope, "payload": payload}, bundle.trust)
            assert caught.value.check == "E_SIG_INVALID", path
            count += 1
    assert count > 300


@ONCE
@given(data=st.data())
def test_any_leaf_of_any_signed_payload_fails_the_audit(bundle: Bundle, data: st.DataObject) -> None:
    document = json.loads(bundle.receipt)
    place = data.draw(st.integers(0, 7))
    statement = payloads(bundle.receipt)[place]
    path = data.draw(st.sampled_from(list(leaves(statement))))
    payload = base64.b64encode(canonical_json(changed(statement, path))).decode()
    document["envelopes"][place]["payload"] = payload
    assert failed(audit(bundle, canonical_json(document))) == (5, "E_SIG_INVALID")


@pytest.mark.parametrize("place", ["document", "envelope", "signature"])
def test_an_added_member_is_refused(bundle: Bundle, place: str) -> None:
    document = json.loads(bundle.receipt)
    envelope = document["envelopes"][0]
    target = {"document": document, "envelope": envelope, "signature": envelope["signatures"][0]}[place]
    target["note"] = "trust me"
    expected = (3, "E_SCHEMA") if place == "document" else (5, "E_ENVELOPE")
    assert failed(audit(bundle, canonical_json(document))) == expected


def test_a_reformatted_receipt_is_refused(bundle: Bundle) -> None:
    pretty = json.dumps(json.loads(bundle.receipt), indent=2).encode()
    assert failed(audit(bundle, pretty)) == (3, "E_JSON_CANONICAL")


@pytest.mark.parametrize(
    "receipt",
    [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":1,"a":2}', b"PK\x03\x04"],
    ids=["empty", "no-members", "a-list", "null", "not-utf8", "deep", "twice", "a-zip"],
)
def test_what_is_no_receipt_is_refused_at_check_3(bundle: Bundle, receipt: bytes) -> None:
    report = verify_bundle(bundle.artifact_path, receipt, bundle.trust)
    assert report.failure is not None
    assert report.failure.number == 3


def test_attack_28_a_missing_receipt_is_a_failure_and_not_a_warning(bundle: Bundle) -> None:
    report = verify_bundle(bundle.artifact_path, None, bundle.trust)
    assert failed(report) == (3, "E_SIG_MISSING")
    assert not report.ok


def test_attack_28_a_receipt_without_envelopes_is_unsigned(bundle: Bundle) -> None:
    document = {**json.loads(bundle.receipt), "envelopes": []}
    assert failed(audit(bundle, canonical_json(document))) == (5, "E_SIG_MISSING")


def test_attack_28_an_envelope_without_signatures_is_unsigned(bundle: Bundle) -> None:
    document = json.loads(bundle.receipt)
    document["envelopes"][3]["signatures"] = []
    assert failed(audit(bundle, canonical_json(document))) == (5, "E_SIG_MISSING")


def test_attack_38_the_receipt_of_another_artifact(bundle: Bundle, neighbour: Bundle) -> None:
    assert failed(audit(bundle, neighbour.receipt)) == (4, "E_SUBJECT_MISMATCH")


def test_attack_38_the_receipt_of_another_artifact_relabelled(bundle: Bundle, neighbour: Bundle) -> None:
    document = {**json.loads(neighbour.receipt), "artifact": bundle.cid}
    assert failed(audit(bundle, canonical_json(document))) == (6, "E_SUBJECT_MISMATCH")


def test_attack_29_a_good_signature_by_an_unknown_key(bundle: Bundle) -> None:
    stranger = PrivateKey.generate()
    receipt = resigned(bundle, lambda statements: None, key=stranger)
    assert failed(audit(bundle, receipt)) == (5, "E_KEY_UNTRUSTED")
    trusting = TrustStore.of(stranger.public)
    assert verify_bundle(bundle.artifact_path, receipt, trusting).ok


def test_attack_32_a_trusted_key_id_on_a_strangers_signature(bundle: Bundle) -> None:
    stranger = PrivateKey.generate()
    document = json.loads(resigned(bundle, lambda statements: None, key=stranger))
    for envelope in document["envelopes"]:
        envelope["signatures"][0]["keyid"] = bundle.key.key_id
    assert failed(audit(bundle, canonical_json(document))) == (5, "E_SIG_INVALID")


def test_attack_29_nobody_is_trusted_by_default(bundle: Bundle) -> None:
    report = verify_bundle(bundle.artifact_path, bundle.receipt, TrustStore.of())
    assert failed(report) == (5, "E_KEY_UNTRUSTED")


def test_attack_66_another_artifact_than_the_one_asked_for(bundle: Bundle, neighbour: Bundle) -> None:
    report = audit(bundle, expected_cid=neighbour.cid)
    assert failed(report) == (1, "E_CID_MISMATCH")


def test_a_receipt_reads_back_what_was_written(bundle: Bundle) -> None:
    receipt = Receipt.parse(bundle.receipt)
    assert receipt.artifact == bundle.cid
    assert [statement.predicate_type for statement in receipt.unverified()] == [
        statement["predicateType"] for statement in bundle.statements
    ]
