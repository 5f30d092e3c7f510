import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import cid_of, sha256_hex
from kolm.dsse import sign_envelope
from kolm.entries import parse_entry
from kolm.errors import CheckedError
from kolm.keys import PrivateKey, PublicKey
from kolm.revocation import PAYLOAD_TYPE, open_revocation, sign_revocation
from kolm.trust import Revocation, TrustedKey, TrustStore

KEY, OTHER = PrivateKey.generate(), PrivateKey.generate()
CID = cid_of(b"an artifact")
AT = datetime(2026, 5, 1, tzinfo=UTC)
TRUST = TrustStore.of(KEY.public, OTHER.public)
HONEST = {"kind": "kolm-revocation/1", "keyid": KEY.key_id, "reason": "lost", "at": "2026-05-01T00:00:00Z"}

VECTORS = json.loads(
    (Path(__file__).parents[2] / "specs/formats/vectors/log.json").read_text(encoding="utf-8")
)["revocations"]
VECTOR_TRUST = TrustStore.of(*map(PublicKey.from_pem, VECTORS["trusted"]))


def nobody(cid: str) -> set[str]:
    return set()


def its_signer(cid: str) -> set[str]:
    return {KEY.key_id} if cid == CID else set()


def signed(payload: Any, key: PrivateKey = KEY, *, payload_type: str = PAYLOAD_TYPE) -> bytes:
    return canonical_json(sign_envelope(canonical_json(payload), key, payload_type=payload_type))


def check_of(data: bytes, trust: TrustStore = TRUST) -> str:
    with pytest.raises(CheckedError) as caught:
        open_revocation(data, trust, signers=its_signer)
    return caught.value.check


def test_a_key_revokes_itself():
    data = sign_revocation(KEY, "lost", at=AT)
    found = open_revocation(data, TRUST, signers=nobody)
    assert (found.subject, found.signer) == (KEY.key_id, KEY.key_id)
    assert found.predicate.model_dump(exclude_none=True) == HONEST
    assert found.sha256 == sha256_hex(data)


def test_an_artifact_is_revoked_by_a_key_that_signed_its_receipt():
    found = open_revocation(sign_revocation(KEY, "wrong labels", artifact=CID), TRUST, signers=its_signer)
    assert (found.subject, found.predicate.keyid) == (CID, None)
    assert check_of(sign_revocation(OTHER, "envy", artifact=CID)) == "E_KEY_UNTRUSTED"
    assert check_of(sign_revocation(KEY, "x", artifact=cid_of(b"another"))) == "E_KEY_UNTRUSTED"


def test_nobody_revokes_the_key_of_another():
    assert check_of(signed(HONEST, OTHER)) == "E_KEY_UNTRUSTED"


def test_strangers_are_not_heard():
    assert check_of(sign_revocation(PrivateKey.generate(), "x")) == "E_KEY_UNTRUSTED"


def test_a_key_that_no_longer_counts_may_still_revoke():
    past = TrustStore(
        keys={KEY.key_id: TrustedKey(KEY.public, until=datetime(2020, 1, 1, tzinfo=UTC))},
        revocations={KEY.key_id: Revocation(AT, "known")},
    )
    assert open_revocation(sign_revocation(KEY, "lost"), past, signers=nobody).subject == KEY.key_id


@pytest.mark.parametrize(
    ("defect", "payload", "check"),
    [
        ("no subject", {k: v for k, v in HONEST.items() if k != "keyid"}, "E_SCHEMA"),
        ("two subjects", HONEST | {"artifact": CID}, "E_SCHEMA"),
        ("a member too many", HONEST | {"until": None}, "E_SCHEMA"),
        ("no reason", HONEST | {"reason": ""}, "E_SCHEMA"),
        ("no reason but space", HONEST | {"reason": " \t\n"}, "E_SCHEMA"),
        ("a long reason", HONEST | {"reason": "x" * 1001}, "E_SCHEMA"),
        ("a day that is none", HONEST | {"at": "2026-02-30T00:00:00Z"}, "E_SCHEMA"),
        ("a short key id", HONEST | {"keyid": "00"}, "E_SCHEMA"),
        ("another kind", HONEST | {"kind": "kolm-receipt/1"}, "E_SCHEMA"),
        ("not an object", [HONEST], "E_SCHEMA"),
        ("no CID", {k: v for k, v in HONEST.items() if k != "keyid"} | {"artifact": "x"}, "E_CID_SYNTAX"),
    ],
)
def test_what_is_no_revocation_is_refused(defect: str, payload: Any, check: str):
    assert check_of(signed(payload)) == check, defect


def test_a_revocation_has_its_own_type_and_one_spelling():
    assert check_of(signed(HONEST, payload_type="application/vnd.in-toto+json")) == "E_PAYLOAD_TYPE"
    honest = sign_revocation(KEY, "lost", at=AT)
    assert check_of(honest + b"\n") == "E_JSON_CANONICAL"
    assert check_of(b" " * 20_000) == "E_LIMIT"
    envelope = parse_canonical(honest, what="envelope")
    other = parse_canonical(sign_revocation(KEY, "stolen", at=AT), what="envelope")
    assert check_of(canonical_json(envelope | {"payload": other["payload"]})) == "E_SIG_INVALID"
    assert check_of(canonical_json(envelope | {"signatures": []})) == "E_SIG_MISSING"


def vector_signers(cid: str) -> set[str]:
    return set(VECTORS["signers"].get(cid, []))


def test_the_vectors_are_accepted_and_stand_in_the_log_of_the_vectors(format_vectors: Path):
    entries = json.loads((format_vectors / "log.json").read_bytes())["entries"]
    for vector in VECTORS["valid"]:
        found = open_revocation(vector["envelope"].encode(), VECTOR_TRUST, signers=vector_signers)
        entry = parse_entry(entries[vector["entry"]].encode())
        assert found.subject == vector["subject"]
        assert (entry.statement, *entry.revokes.model_dump().values()) == (found.sha256, found.subject)


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["defect"])
def test_the_invalid_vectors_are_refused(vector: dict[str, str]):
    with pytest.raises(CheckedError) as caught:
        open_revocation(vector["envelope"].encode(), VECTOR_TRUST, signers=vector_signers)
    assert caught.value.check == vector["check"]


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_is_accepted(place: int, flip: int):
    data = bytearray(sign_revocation(KEY, "lost", at=AT))
    data[place % len(data)] ^= flip
    check_of(bytes(data))
