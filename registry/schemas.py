"""What the registry says in JSON; one model per answer, names as in specs/formats/registry-api.md."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]

Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]
"""A value to search for."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Logged(_Answer):
    """Where an entry stands in the registry's log."""

    index: int
    size: int
    """Entries that are published, this one included."""


class Stored(_Answer):
    """Answer to an upload."""

    cid: str
    """CID of the artifact."""
    receipt: str
    """CID of the receipt."""
    created: bool
    """Whether the artifact or the receipt was new."""
    verdict: Verdict
    k: float | None
    log: Logged


class Revoked(_Answer):
    """Answer to a revocation."""

    statement: str
    """SHA-256 of the envelope's bytes, which the log's entry holds."""
    envelope: str
    """The same as a CID; `/v1/blobs/` has the envelope."""
    log: Logged


class Keys(_Answer):
    """What a registry signs with; whom to believe is decided elsewhere."""

    log: str
    """Verifier key of its log, for log.vkey of a trust directory."""
    summary: str
    """Public key of its summaries, PEM."""
    summary_id: str
    """SHA-256 of that key's SubjectPublicKeyInfo, which its operator prints and readers compare."""


class ArtifactItem(_Answer):
    """One artifact in a search, with what its newest accepted receipt says."""

    cid: str
    name: str
    base: str
    family: str
    k: float | None
    """Null when the receipt's K could not be measured."""
    verdict: Verdict
    created: str
    """When the compile finished, RFC 3339 in UTC."""


class ArtifactPage(_Answer):
    """One page of a search, newest upload first."""

    items: list[ArtifactItem]
    next: str | None
    """Cursor of the next page; null on the last."""


class ReceiptItem(_Answer):
    """One accepted receipt of an artifact."""

    cid: str
    verdict: Verdict
    k: float | None
    created: str


class ReceiptList(_Answer):
    """All receipts of an artifact, newest accepted first."""

    items: list[ReceiptItem]


class Status(_Answer):
    """Answer of the health endpoints."""

    status: Literal["ok"] = "ok"


class ProblemDocument(BaseModel):
    """An error (RFC 9457); further members depend on the type."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    hint: str | None = None


class ArtifactQuery(BaseModel):
    """What to search for; every condition that is given must hold."""

    model_config = ConfigDict(extra="forbid")

    base: Text | None = None
    """Model id, or its last path component."""
    family: Text | None = None
    name: Text | None = None
    frozen: list[Text] = Field(default=[], max_length=8)
    """Patterns (specs/formats/modules.md 3): each covers a parameter, and only frozen ones."""
    trainable: list[Text] = Field(default=[], max_length=8)
    """Patterns: each covers a parameter, and only trained ones."""
    min_k: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    cursor: Text | None = None
    limit: int = Field(default=50, ge=1, le=500)
