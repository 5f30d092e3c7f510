import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from kolm.errors import SigningError, VerificationError
from kolm.keys import (
    PrivateKey,
    PublicKey,
)

KEY = PrivateKey.generate()
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
ORDER_8 = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)
SMALL_ORDER_Y = [0, 1, P - 1, *(int.from_bytes(bytes.fromhex(text), "little") for text in ORDER_8)]
WEAK = [
    (y + sign * 2**255).to_bytes(32, "little") for y in [*SMALL_ORDER_Y, P, P + 1, P + 18] for sign in (0, 1)
]


def check_of(key: bytes, message: bytes, signature: bytes) -> str | None:
    try:
        PublicKey(key).verify(signature, message)
    except VerificationError as err:
        return err.check
    return None


# signatures


@given(st.binary(max_size=64))
def test_what_a_key_signs_its_public_half_accepts(data):
    signature = KEY.sign(data)
    KEY.public.verify(signature, data)
    assert KEY.sign(data) == signature


@given(st.binary(max_size=16), st.integers(0, 64 * 8 - 1))
def test_a_changed_signature_or_message_is_refused(data, bit):
    signature = int.from_bytes(KEY.sign(data), "little") ^ (1 << bit)
    assert check_of(KEY.public.raw, data, signature.to_bytes(64, "little")) == "E_SIG_INVALID"
    assert check_of(KEY.public.raw, data + b"x", KEY.sign(data)) == "E_SIG_INVALID"


def test_another_keys_signature_is_refused():
    assert check_of(KEY.public.raw, b"data", PrivateKey.generate().sign(b"data")) == "E_SIG_INVALID"


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(length):
    assert check_of(KEY.public.raw, b"", (KEY.sign(b"") + b"x")[:length]) == "E_SIG_INVALID"


def test_wycheproof_vectors(vectors):
    document = json.loads((vectors / "wycheproof" / "ed25519_test.json").read_bytes())
    count = 0
    for group in document["testGroups"]:
        for case in group["tests"]:
            key, message = bytes.fromhex(group["publicKey"]["pk"]), bytes.fromhex(case["msg"])
            accepted = check_of(key, message, bytes.fromhex(case["sig"])) is None
            assert accepted == (case["result"] == "valid"), case["tcId"]
            count += 1
        assert PublicKey.from_pem(group["publicKeyPem"]).raw == key
    assert count == document["numberOfTests"]


def test_a_signature_with_the_order_added_is_refused():
    signature = KEY.sign(b"data")
    second = int.from_bytes(signature[32:], "little") + L
    assert (
        check_of(KEY.public.raw, b"data", signature[:32] + second.to_bytes(32, "little")) == "E_SIG_INVALID"
    )


@pytest.mark.parametrize("encoded", WEAK, ids=lambda raw: raw.hex())
def test_weak_keys_are_refused_before_they_can_be_trusted(encoded):
    with pytest.raises(VerificationError) as caught:
        PublicKey(encoded)
    assert caught.value.check == "E_KEY_WEAK"


@pytest.mark.parametrize("encoded", WEAK, ids=lambda raw: raw.hex())
def test_a_first_half_of_small_order_is_refused(encoded):
    assert check_of(KEY.public.raw, b"data", encoded + KEY.sign(b"data")[32:]) == "E_SIG_INVALID"


def test_the_library_alone_accepts_one_signature_for_every_message_under_a_weak_key():
    """Why the check above is not left to the library."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    identity = (1).to_bytes(32, "little")
    for message in (b"I owe you 1", b"I owe you 1000"):
        Ed25519PublicKey.from_public_bytes(identity).verify(identity + bytes(32), message)


# public keys as text


def test_a_public_key_is_the_pem_openssl_writes():
    key = PrivateKey.generate()
    theirs = key._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert key.public.pem() == theirs
    assert PublicKey.from_pem(theirs) == key.public
    assert PublicKey.from_pem("\n" + theirs.replace("\n", "\r\n")).key_id == key.key_id


@pytest.mark.parametrize(
    ("defect", "text"),
    [
        ("nothing", ""),
        ("no PEM", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"),
        ("a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("no base64", "-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----\n"),
        ("text behind", KEY.public.pem() + "more"),
        ("two keys", KEY.public.pem() * 2),
        ("a private key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ("a megabyte", KEY.public.pem() + " " * 1_000_000),
    ],
)
def test_text_that_is_no_public_key_is_refused(defect, text):
    with pytest.raises(SigningError) as caught:
        PublicKey.from_pem(text)
    assert caught.value.hint, defect


def test_keys_of_other_kinds_are_refused():
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(VerificationError) as caught:
        PublicKey.from_pem(pem)
    assert caught.value.check == "E_KEY_TYPE"
    with pytest.raises(VerificationError) as caught:
        PublicKey(b"short")
    assert caught.value.check == "E_KEY_TYPE"


def test_a_private_key_does_not_show_itself():
    shown = repr(KEY) + str(KEY)
    assert KEY.der()[-32:].hex() not in shown
    assert KEY.key_id[:16] in shown
