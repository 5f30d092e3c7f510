"""Revocations: signed statements that a key or an artifact no longer counts (specs/formats/envelope.md 6).

A key revokes itself; an artifact is revoked by a key that signed a receipt of it.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import CID, parse_cid, sha256_hex
from kolm.dsse import open_envelope, sign_envelope
from kolm.errors import VerificationError
from kolm.instants import spell_instant
from kolm.keys import PrivateKey
from kolm.schema import Closed, Hex, Timestamp, read_model
from kolm.trust import TrustStore

PAYLOAD_TYPE = "application/vnd.kolm.revocation+json"
MAX_BYTES = 16_384
_Kind = Literal["kolm-revocation/1"]
_KIND: _Kind = "kolm-revocation/1"


class RevocationPredicate(Closed):
    """What is signed: one key or one artifact, why, and when."""

    kind: _Kind
    keyid: Hex | None = None
    artifact: str | None = None
    reason: Annotated[str, Field(pattern=r"\S", max_length=1000)]
    at: Timestamp

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if (self.keyid is None) == (self.artifact is None):
            raise ValueError("a revocation names a key or an artifact, and one of them")
        return self


@dataclass(frozen=True)
class SignedRevocation:
    """A revocation whose signature holds, made by someone who may revoke this."""

    predicate: RevocationPredicate
    signer: str
    """Id of the key that signed."""
    sha256: str
    """Digest of the envelope's bytes, which is what the log commits to."""

    @property
    def subject(self) -> str:
        """Return the key id or the CID that no longer counts."""
        return self.predicate.keyid or self.predicate.artifact or ""


def sign_revocation(
    key: PrivateKey, reason: str, *, artifact: CID | None = None, at: datetime | None = None
) -> bytes:
    """Return the envelope by which `key` revokes an artifact, or itself if none is named."""
    subject = {"keyid": key.key_id} if artifact is None else {"artifact": artifact}
    payload = {"kind": _KIND, **subject, "reason": reason, "at": spell_instant(at or datetime.now(UTC))}
    return canonical_json(sign_envelope(canonical_json(payload), key, payload_type=PAYLOAD_TYPE))


def open_revocation(
    data: bytes, trust: TrustStore, *, signers: Callable[[CID], Set[str]]
) -> SignedRevocation:
    """Check a revocation against the trusted keys and return it.

    `signers` tells which keys signed receipts of an artifact. A key that is revoked already, or whose time
    is over, may still revoke. Raises ArtifactError (E_LIMIT, E_JSON_CANONICAL, E_ENVELOPE, E_SCHEMA,
    E_CID_SYNTAX, E_CID_PROFILE), VerificationError (E_PAYLOAD_TYPE, E_SIG_MISSING, E_KEY_UNTRUSTED,
    E_SIG_INVALID).
    """
    envelope = parse_canonical(data, what="revocation", max_bytes=MAX_BYTES)
    opened = open_envelope(envelope, trust.timeless(), payload_type=PAYLOAD_TYPE)
    value = parse_canonical(opened.payload, what="revocation")
    predicate = read_model(RevocationPredicate, value, what="revocation")
    if predicate.artifact is None:
        allowed: Set[str] = {predicate.keyid or ""}
    else:
        allowed = signers(parse_cid(predicate.artifact))
    if opened.keyid not in allowed:
        raise VerificationError(
            f"the key {opened.keyid} may not revoke {predicate.keyid or predicate.artifact}",
            check="E_KEY_UNTRUSTED",
            hint="a key revokes itself; an artifact is revoked by a key that signed a receipt of it",
        )
    return SignedRevocation(predicate, opened.keyid, sha256_hex(data))
