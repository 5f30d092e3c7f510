import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kolm.canonical import canonical_json
from kolm.dsse import PAYLOAD_TYPE, open_envelope, pae, sign_envelope
from kolm.errors import ArtifactError, CheckedError, VerificationError
from kolm.keys import PrivateKey, PublicKey
from kolm.trust import Revocation, TrustedKey, TrustStore

KEY, OTHER = PrivateKey.generate(), PrivateKey.generate()
TRUST = TrustStore.of(KEY.public)
PAYLOAD = b'{"_type":"statement"}'
ENVELOPE = sign_envelope(PAYLOAD, KEY)
JANUARY, JUNE, DECEMBER = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 6, 12))


def check_of(envelope: Any, trust: TrustStore = TRUST, **options: Any) -> str:
    with pytest.raises(CheckedError) as caught:
        open_envelope(envelope, trust, **options)
    assert caught.value.hint
    assert isinstance(caught.value, ArtifactError) == (caught.value.check == "E_ENVELOPE")
    return caught.value.check


def signed(**other: Any) -> dict[str, Any]:
    return ENVELOPE | {"signatures": [ENVELOPE["signatures"][0] | other]}


def test_the_bytes_that_are_signed_are_those_of_the_dsse_page():
    assert (
        pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_lengths_count_bytes():
    assert pae("\u00e9", "\u00e9".encode()) == "DSSEv1 2 \u00e9 2 \u00e9".encode()


@given(st.binary(max_size=100))
def test_what_was_signed_is_what_is_opened(payload):
    opened = open_envelope(sign_envelope(payload, KEY), TRUST)
    assert (opened.payload, opened.keyid) == (payload, KEY.key_id)


def test_an_envelope_is_the_same_every_time_and_survives_canonical_json():
    assert canonical_json(sign_envelope(PAYLOAD, KEY)) == canonical_json(ENVELOPE)
    assert open_envelope(json.loads(canonical_json(ENVELOPE)), TRUST).payload == PAYLOAD


@given(st.data())
def test_any_changed_character_is_refused(data):
    text = canonical_json(ENVELOPE).decode()
    at = data.draw(st.integers(0, len(text) - 1))
    changed = (
        text[:at] + data.draw(st.characters(codec="ascii").filter(lambda c: c != text[at])) + text[at + 1 :]
    )
    try:
        envelope = json.loads(changed)
    except ValueError:
        return
    if envelope != ENVELOPE:
        check_of(envelope)


def test_vectors(format_vectors):
    document = json.loads((format_vectors / "envelope.json").read_bytes())
    key = PublicKey.from_pem(document["key"]["pem"])
    assert key.key_id == document["key"]["keyid"]
    trust = TrustStore.of(key)
    for case in document["valid"]:
        opened = open_envelope(case["envelope"], trust)
        assert opened.payload.hex() == case["payload"]
        assert pae(PAYLOAD_TYPE, opened.payload).hex() == case["pae"]
    for case in document["invalid"]:
        assert check_of(case["envelope"], trust) == case["check"], case["defect"]
    for case in document["weak_keys"]:
        with pytest.raises(VerificationError) as caught:
            PublicKey.from_pem(case["pem"])
        assert caught.value.check == "E_KEY_WEAK", case["defect"]


def test_another_payload_type_is_refused_even_when_it_was_signed():
    signature = base64.b64encode(KEY.sign(pae("application/json", PAYLOAD))).decode()
    assert check_of(signed(sig=signature) | {"payloadType": "application/json"}) == "E_PAYLOAD_TYPE"
    assert check_of(ENVELOPE | {"payloadType": 5}) == "E_PAYLOAD_TYPE"
    assert check_of(signed(sig=signature)) == "E_SIG_INVALID"


def test_an_envelope_without_signatures_is_not_a_warning():
    assert check_of(ENVELOPE | {"signatures": []}) == "E_SIG_MISSING"


def test_a_key_counts_only_when_the_verifier_trusts_it():
    assert check_of(sign_envelope(PAYLOAD, OTHER)) == "E_KEY_UNTRUSTED"
    assert check_of(ENVELOPE, TrustStore.of()) == "E_KEY_UNTRUSTED"


def test_a_key_id_lends_no_trust_to_another_keys_signature():
    theirs = sign_envelope(PAYLOAD, OTHER)["signatures"][0]["sig"]
    both = TrustStore.of(KEY.public, OTHER.public)
    assert check_of(signed(sig=theirs), both) == "E_SIG_INVALID"


def test_the_payload_cannot_be_exchanged():
    assert check_of(ENVELOPE | {"payload": base64.b64encode(b"{}").decode()}) == "E_SIG_INVALID"


def test_a_revoked_key_counts_for_nothing():
    revoked = TrustStore(keys=TRUST.keys, revocations={KEY.key_id: Revocation(JUNE, "stolen")})
    assert check_of(ENVELOPE, revoked) == "E_REVOKED"
    assert check_of(ENVELOPE, revoked, at=JANUARY) == "E_REVOKED"


def test_a_key_counts_within_its_window_only():
    trust = TrustStore(keys={KEY.key_id: TrustedKey(KEY.public, from_=JANUARY, until=JUNE)})
    assert open_envelope(ENVELOPE, trust, at=JANUARY).keyid == KEY.key_id
    assert check_of(ENVELOPE, trust, at=DECEMBER) == "E_KEY_UNTRUSTED"
    past = TrustStore(keys={KEY.key_id: TrustedKey(KEY.public, until=datetime(2020, 1, 1, tzinfo=UTC))})
    assert check_of(ENVELOPE, past) == "E_KEY_UNTRUSTED"


@pytest.mark.parametrize(
    ("defect", "envelope"),
    [
        ("not an object", [ENVELOPE]),
        ("nothing", None),
        ("a member missing", {key: ENVELOPE[key] for key in ("payload", "payloadType")}),
        ("a member too many", ENVELOPE | {"payload2": ""}),
        ("a key inside", signed(cert="-----BEGIN CERTIFICATE-----")),
        ("signatures that are an object", ENVELOPE | {"signatures": {"0": ENVELOPE["signatures"][0]}}),
        ("a signature that is text", ENVELOPE | {"signatures": ["abc"]}),
        ("the same signature twice", ENVELOPE | {"signatures": ENVELOPE["signatures"] * 2}),
        ("a key id that is a number", signed(keyid=5)),
        ("no key id", ENVELOPE | {"signatures": [{"sig": ENVELOPE["signatures"][0]["sig"]}]}),
        ("a payload that is a number", ENVELOPE | {"payload": 5}),
        ("white space in base64", ENVELOPE | {"payload": ENVELOPE["payload"] + "\n"}),
        ("base64 without padding", ENVELOPE | {"payload": base64.b64encode(b"a").decode().rstrip("=")}),
        ("unused bits in base64", ENVELOPE | {"payload": "YR=="}),
        ("url-safe base64", ENVELOPE | {"payload": "-_-_"}),
        ("letters beyond ASCII", ENVELOPE | {"payload": "\u00e9\u00e9\u00e9\u00e9"}),
        ("a signature that is not base64", signed(sig="!")),
    ],
)
def test_what_is_no_envelope_is_refused_before_any_key_is_looked_up(defect, envelope):
    assert check_of(envelope, TrustStore.of()) == "E_ENVELOPE", defect


def test_the_example_of_the_format_page_is_a_vector(format_vectors):
    page = (format_vectors.parent / "envelope.md").read_text()
    document = json.loads((format_vectors / "envelope.json").read_bytes())
    example = json.loads(page.split("```json\n")[1].split("```")[0])
    assert example == document["valid"][0]["envelope"]
    assert document["key"]["pem"] in page
