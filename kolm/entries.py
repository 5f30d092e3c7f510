"""Log entries: the canonical JSON by which a receipt or a revocation stands in a log (log.md 1)."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from kolm.canonical import canonical_json, parse_canonical
from kolm.cid import CID, parse_cid
from kolm.schema import Closed, Hex, read_model

_Kind = Literal["kolm-entry/1"]
KIND: _Kind = "kolm-entry/1"
MAX_BYTES = 4096
"""Most bytes of an entry."""


class ReceiptEntry(Closed):
    """A registry accepted this receipt of this artifact."""

    kind: _Kind
    what: Literal["receipt"]
    artifact: str
    receipt: str


class RevokedKey(Closed):
    """A key that no longer counts."""

    keyid: Hex


class RevokedArtifact(Closed):
    """An artifact that no longer counts."""

    artifact: str


class RevocationEntry(Closed):
    """A registry accepted the signed revocation with this SHA-256."""

    kind: _Kind
    what: Literal["revocation"]
    revokes: RevokedKey | RevokedArtifact
    statement: Hex
    """SHA-256 of the envelope's bytes."""


LogEntry = ReceiptEntry | RevocationEntry

_ADAPTER: TypeAdapter[LogEntry] = TypeAdapter(Annotated[LogEntry, Field(discriminator="what")])


def receipt_entry(artifact: CID, receipt: CID) -> bytes:
    """Return the entry of an accepted receipt."""
    return canonical_json({"kind": KIND, "what": "receipt", "artifact": artifact, "receipt": receipt})


def revocation_entry(revokes: dict[str, str], *, statement: str) -> bytes:
    """Return the entry that revokes `{"keyid": hex}` or `{"artifact": CID}`; `statement` is a SHA-256."""
    return canonical_json({"kind": KIND, "what": "revocation", "revokes": revokes, "statement": statement})


def parse_entry(data: bytes) -> LogEntry:
    """Read an entry.

    Raises ArtifactError (E_LIMIT, E_JSON_CANONICAL, E_SCHEMA, E_CID_SYNTAX, E_CID_PROFILE).
    """
    value: Any = parse_canonical(data, what="the log entry", max_bytes=MAX_BYTES, max_depth=2)
    found = read_model(_ADAPTER, value, what="the log entry")
    for cid in _cids(found):
        parse_cid(cid)
    return found


def _cids(entry: LogEntry) -> list[str]:
    if isinstance(entry, ReceiptEntry):
        return [entry.artifact, entry.receipt]
    return [entry.revokes.artifact] if isinstance(entry.revokes, RevokedArtifact) else []
