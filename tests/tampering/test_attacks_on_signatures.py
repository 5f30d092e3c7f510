"""Attacks 30 to 35: signatures, keys and envelopes that prove less than they seem to (attacks.md)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kolm.artifact import MANIFEST
from kolm.canonical import canonical_json
from kolm.container import write_container
from kolm.dsse import PAYLOAD_TYPE, pae, sign_envelope
from kolm.errors import SpecError, VerificationError
from kolm.keys import PrivateKey, PublicKey
from kolm.trust import TrustStore, trust_key
from kolm.verify import verify_bundle
from tests.bundles import Bundle
from tests.kolm.test_keys import WEAK, L
from tests.tampering.lies import audit, failed

Envelope = dict[str, Any]


def with_envelope(bundle: Bundle, edit: Callable[[Envelope], None], place: int = 0) -> bytes:
    """Change one envelope of the receipt and sign nothing again."""
    document = json.loads(bundle.receipt)
    edit(document["envelopes"][place])
    return canonical_json(document)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def signature_of(envelope: Envelope) -> bytes:
    return base64.b64decode(envelope["signatures"][0]["sig"])


def resigned_by(envelope: Envelope, signature: bytes, **other: str) -> None:
    envelope["signatures"][0] |= {"sig": encoded(signature), **other}


def signed_bytes(envelope: Envelope) -> bytes:
    return pae(PAYLOAD_TYPE, base64.b64decode(envelope["payload"]))


# 29: a key that came along


@pytest.mark.parametrize("member", ["cert", "public_key", "jwk"])
def test_attack_29_a_key_that_comes_with_the_receipt(bundle: Bundle, member: str) -> None:
    def edit(envelope: Envelope) -> None:
        stranger = PrivateKey.generate()
        envelope["signatures"][0] = sign_envelope(b"{}", stranger)["signatures"][0]
        envelope["signatures"][0][member] = stranger.public.pem()

    assert failed(audit(bundle, with_envelope(bundle, edit))) == (5, "E_ENVELOPE")


def test_attack_29_a_key_that_comes_in_the_artifact(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "x.kolm"
    key = f"keys/{bundle.key.key_id}.json"
    content = canonical_json({"pem": bundle.key.public.pem(), "from": None, "until": None})
    write_container(path, {MANIFEST: bundle.facts.artifact.read(MANIFEST), **bundle.members, key: content})
    report = verify_bundle(path, bundle.receipt, TrustStore.of())
    assert failed(report) == (2, "E_MEMBER_UNLISTED")
    assert report.checks[4].code == "E_KEY_UNTRUSTED"


# 30: one key that counts twice


@pytest.mark.parametrize("second", ["the same again", "under another id", "of another key"])
def test_attack_30_more_than_one_signature(bundle: Bundle, second: str) -> None:
    def edit(envelope: Envelope) -> None:
        first = envelope["signatures"][0]
        envelope["signatures"].append(
            {
                "the same again": first,
                "under another id": first | {"keyid": "f" * 64},
                "of another key": sign_envelope(base64.b64decode(envelope["payload"]), PrivateKey.generate())[
                    "signatures"
                ][0],
            }[second]
        )

    assert failed(audit(bundle, with_envelope(bundle, edit))) == (5, "E_ENVELOPE")


def test_attack_30_one_key_under_two_ids_is_no_trust_directory(bundle: Bundle, tmp_path: Path) -> None:
    path = trust_key(tmp_path, bundle.key.public)
    path.with_name(f"{'f' * 64}.json").write_bytes(path.read_bytes())
    with pytest.raises(SpecError, match=f"holds the key {bundle.key.key_id}"):
        TrustStore.open(tmp_path)


# 31: another protocol


@pytest.mark.parametrize("kind", ["application/json", "application/vnd.in-toto+json ", "", "text/plain"])
@pytest.mark.parametrize("signed", [True, False], ids=["signed so", "swapped"])
def test_attack_31_another_payload_type(bundle: Bundle, kind: str, signed: bool) -> None:
    def edit(envelope: Envelope) -> None:
        envelope["payloadType"] = kind
        if signed:
            payload = base64.b64decode(envelope["payload"])
            resigned_by(envelope, bundle.key.sign(pae(kind, payload)))

    assert failed(audit(bundle, with_envelope(bundle, edit))) == (5, "E_PAYLOAD_TYPE")


def test_attack_31_a_signature_made_for_another_type(bundle: Bundle) -> None:
    def edit(envelope: Envelope) -> None:
        payload = base64.b64decode(envelope["payload"])
        resigned_by(envelope, bundle.key.sign(pae("application/vnd.kolm.revocation+json", payload)))

    assert failed(audit(bundle, with_envelope(bundle, edit))) == (5, "E_SIG_INVALID")


def test_attack_31_the_payload_signed_without_its_type(bundle: Bundle) -> None:
    def edit(envelope: Envelope) -> None:
        resigned_by(envelope, bundle.key.sign(base64.b64decode(envelope["payload"])))

    assert failed(audit(bundle, with_envelope(bundle, edit))) == (5, "E_SIG_INVALID")


# 33: another algorithm


@pytest.mark.parametrize("alg", ["none", "HS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("where", ["envelope", "signature"])
def test_attack_33_a_receipt_that_names_its_algorithm(bundle: Bundle, alg: str, where: str) -> None:
    def edit(envelope: Envelope) -> None:
        (envelope if where == "envelope" else envelope["signatures"][0])["alg"] = alg

    assert failed(audit(bundle, with_envelope(bundle, edit))) == (5, "E_ENVELOPE")


def test_attack_33_a_mac_under_the_public_key(bundle: Bundle) -> None:
    for secret in (bundle.key.public.raw, bundle.key.public.pem().encode()):
        for digest in (hashlib.sha256, hashlib.sha512):

            def edit(envelope: Envelope, secret: bytes = secret, digest: Any = digest) -> None:
                resigned_by(envelope, hmac.digest(secret, signed_bytes(envelope), digest))

            assert failed(audit(bundle, with_envelope(bundle, edit))) == (5, "E_SIG_INVALID")


def test_attack_33_a_signature_of_another_kind_of_key(bundle: Bundle, tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def edit(envelope: Envelope) -> None:
        resigned_by(envelope, other.sign(signed_bytes(envelope), ec.ECDSA(hashes.SHA256())))

    assert failed(audit(bundle, with_envelope(bundle, edit))) == (5, "E_SIG_INVALID")
    with pytest.raises(VerificationError) as caught:
        PublicKey.from_pem(pem)
    assert caught.value.check == "E_KEY_TYPE"
    path = trust_key(tmp_path, bundle.key.public)
    path.write_bytes(canonical_json({"pem": pem, "from": None, "until": None, "label": ""}))
    with pytest.raises(VerificationError) as caught:
        TrustStore.open(tmp_path)
    assert caught.value.check == "E_KEY_TYPE"


# 34: what some libraries let through


def test_attack_34_a_signature_with_the_order_added(bundle: Bundle) -> None:
    def edit(envelope: Envelope) -> None:
        signature = signature_of(envelope)
        second = int.from_bytes(signature[32:], "little") + L
        resigned_by(envelope, signature[:32] + second.to_bytes(32, "little"))

    assert failed(audit(bundle, with_envelope(bundle, edit))) == (5, "E_SIG_INVALID")


@pytest.mark.parametrize("point", WEAK, ids=lambda raw: raw.hex())
def test_attack_34_a_first_half_of_small_order_or_not_canonical(bundle: Bundle, point: bytes) -> None:
    def edit(envelope: Envelope) -> None:
        resigned_by(envelope, point + signature_of(envelope)[32:])

    assert failed(audit(bundle, with_envelope(bundle, edit))) == (5, "E_SIG_INVALID")


@pytest.mark.parametrize("point", WEAK, ids=lambda raw: raw.hex())
def test_attack_34_a_key_of_small_order_or_not_canonical(tmp_path: Path, point: bytes) -> None:
    spki = bytes.fromhex("302a300506032b6570032100") + point
    pem = f"-----BEGIN PUBLIC KEY-----\n{encoded(spki)}\n-----END PUBLIC KEY-----\n"
    path = tmp_path / "keys" / f"{hashlib.sha256(spki).hexdigest()}.json"
    path.parent.mkdir()
    path.write_bytes(canonical_json({"pem": pem, "from": None, "until": None, "label": ""}))
    with pytest.raises(VerificationError) as caught:
        TrustStore.open(tmp_path)
    assert caught.value.check == "E_KEY_WEAK"


# 35: one envelope, two readings


def junk(text: str) -> str:
    return text[:8] + "\n" + text[8:]


def unpadded_bits(text: str) -> str:
    """Set unused bits behind the last byte."""
    body = text.rstrip("=")
    padding = text[len(body) :] or "=="
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet[alphabet.index(body[-1]) | 1] if text.endswith("=") else body[-1] + "A"
    return body[:-1] + last + padding


def url_safe(text: str) -> str:
    return "-_" + text[2:]


@pytest.mark.parametrize("member", ["payload", "sig"])
@pytest.mark.parametrize(
    "spell", [junk, unpadded_bits, url_safe, lambda text: text + "====", lambda text: text + " "]
)
def test_attack_35_base64_that_is_spelled_otherwise(
    bundle: Bundle, member: str, spell: Callable[[str], str]
) -> None:
    def edit(envelope: Envelope) -> None:
        target = envelope if member == "payload" else envelope["signatures"][0]
        assert spell(target[member]) != target[member]
        target[member] = spell(target[member])

    assert failed(audit(bundle, with_envelope(bundle, edit))) == (5, "E_ENVELOPE")


@pytest.mark.parametrize("member", ["payload2", "Payload", "statement", "payload_parsed"])
def test_attack_35_a_second_payload(bundle: Bundle, member: str) -> None:
    receipt = with_envelope(bundle, lambda envelope: envelope.update({member: encoded(b"{}")}))
    assert failed(audit(bundle, receipt)) == (5, "E_ENVELOPE")


def test_attack_35_a_payload_given_twice(bundle: Bundle) -> None:
    twice = bundle.receipt.replace(b'"payload":"', b'"payload":"e30=","payload":"', 1)
    assert failed(audit(bundle, twice)) == (3, "E_JSON_CANONICAL")


def test_attack_35_a_receipt_that_is_spelled_otherwise(bundle: Bundle) -> None:
    pretty = json.dumps(json.loads(bundle.receipt), indent=2).encode()
    assert failed(audit(bundle, pretty)) == (3, "E_JSON_CANONICAL")


def test_attack_35_a_signed_payload_that_reads_in_two_ways(bundle: Bundle) -> None:
    def edit(envelope: Envelope) -> None:
        payload = base64.b64decode(envelope["payload"])
        doubled = b'{"_type":"x",' + payload[1:]
        envelope |= sign_envelope(doubled, bundle.key)

    assert failed(audit(bundle, with_envelope(bundle, edit))) == (6, "E_JSON_CANONICAL")
