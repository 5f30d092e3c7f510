"""Signed envelopes: DSSE with one signature, over in-toto statements mostly (specs/formats/envelope.md 1, 2).

What is signed are bytes, not objects: the payload that was verified is the payload that is parsed.
"""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kolm.canonical import decode_base64
from kolm.errors import ArtifactError, VerificationError
from kolm.keys import PrivateKey
from kolm.trust import TrustStore

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_HINT = "the receipt was changed or written by something else; get it again from its publisher"


@dataclass(frozen=True)
class Opened:
    """The payload of an envelope whose signature counts, and the id of the key that made it."""

    payload: bytes
    keyid: str


def pae(payload_type: str, payload: bytes) -> bytes:
    """Join type and payload into the bytes that are signed; lengths count bytes (DSSE 1.0 protocol)."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_envelope(payload: bytes, key: PrivateKey, *, payload_type: str = PAYLOAD_TYPE) -> dict[str, Any]:
    """Sign `payload` and return the envelope."""
    signature = key.sign(pae(payload_type, payload))
    return {
        "payload": base64.b64encode(payload).decode("ascii"),
        "payloadType": payload_type,
        "signatures": [{"keyid": key.key_id, "sig": base64.b64encode(signature).decode("ascii")}],
    }


def open_envelope(
    envelope: Any, trust: TrustStore, *, at: datetime | None = None, payload_type: str = PAYLOAD_TYPE
) -> Opened:
    """Check an envelope against the trusted keys and return what it holds.

    `at` is when the signature must have counted, now unless given. Raises ArtifactError E_ENVELOPE;
    VerificationError E_PAYLOAD_TYPE, E_SIG_MISSING, E_KEY_UNTRUSTED, E_SIG_INVALID, E_REVOKED, in this order.
    """
    _closed(envelope, members={"payload", "payloadType", "signatures"}, what="the envelope")
    payload = _decoded(envelope["payload"], what="payload")
    if envelope["payloadType"] != payload_type:
        kind = str(envelope["payloadType"])[:80]
        raise VerificationError(
            f"the payload type is {kind!r}, not {payload_type}", check="E_PAYLOAD_TYPE", hint=_HINT
        )
    keyid, signature = _one_signature(envelope["signatures"])
    trusted = trust.key(keyid)
    trusted.public.verify(signature, pae(payload_type, payload))
    if revocation := trust.revoked(keyid):
        raise VerificationError(
            f"the key {keyid} is revoked: {revocation.reason}",
            check="E_REVOKED",
            hint="ask the publisher for a receipt made with the key that replaced it",
        )
    if not trusted.valid_at(at or datetime.now(UTC)):
        raise VerificationError(
            f"the key {keyid} is not trusted for that time",
            check="E_KEY_UNTRUSTED",
            hint="see its from and until in the trust directory",
        )
    return Opened(payload, keyid)


def _one_signature(signatures: Any) -> tuple[str, bytes]:
    """Return key id and signature of the only signature there may be."""
    if not isinstance(signatures, list):
        raise _malformed("signatures is not a list")
    if not signatures:
        raise VerificationError("the envelope is not signed", check="E_SIG_MISSING", hint=_HINT)
    if len(signatures) > 1:
        raise _malformed("it has more than one signature")
    _closed(signatures[0], members={"keyid", "sig"}, what="the signature")
    keyid = signatures[0]["keyid"]
    if not isinstance(keyid, str):
        raise _malformed("the key id is not text")
    return keyid, _decoded(signatures[0]["sig"], what="signature")


def _closed(value: Any, *, members: set[str], what: str) -> None:
    """Refuse anything but an object with exactly these members."""
    if not isinstance(value, dict) or set(value) != members:
        raise _malformed(f"{what} does not have exactly {', '.join(sorted(members))}")


def _decoded(text: Any, *, what: str) -> bytes:
    data = decode_base64(text) if isinstance(text, str) else None
    if data is None:
        raise _malformed(f"the {what} is not canonical base64")
    return data


def _malformed(reason: str) -> ArtifactError:
    return ArtifactError(f"not a signed envelope: {reason}", check="E_ENVELOPE", hint=_HINT)
