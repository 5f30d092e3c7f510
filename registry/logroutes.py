"""The addresses of log, proofs, summaries, keys and revocations (specs/formats/registry-api.md 1)."""

import secrets
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from kolm.canonical import parse_canonical
from kolm.cid import CID, cid_of, parse_cid
from kolm.dsse import open_envelope
from kolm.entries import receipt_entry, revocation_entry
from kolm.errors import CheckedError
from kolm.files import staging
from kolm.revocation import MAX_BYTES, SignedRevocation, open_revocation
from kolm.tlog.tiles import parse_tile_path, tile_path
from kolm.trust import TrustStore, revoke
from registry.ingest import Service
from registry.problems import Problem, problem_responses
from registry.responses import IMMUTABLE, REVALIDATE, WholeResponse
from registry.routes import BINARY, JSON, CidDep, ServiceDep
from registry.schemas import Keys, Logged, Revoked

TEXT = "text/plain; charset=utf-8"
NEVER_KEPT = "no-store"
"""For the checkpoint: an old one would look like a log that was set back."""

tiles = APIRouter(prefix="/tlog", tags=["log"])
proofs = APIRouter(prefix="/v1/artifacts", tags=["log"])
keys = APIRouter(prefix="/v1/keys", tags=["log"])
revocations = APIRouter(prefix="/v1/revocations", tags=["log"])

NamedReceipt = Annotated[str | None, Query()]


@tiles.get(
    "/checkpoint",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **problem_responses(503)},
)
@tiles.head("/checkpoint", include_in_schema=False)
def get_checkpoint(service: ServiceDep) -> Response:
    """Return the newest checkpoint (c2sp.org/tlog-checkpoint)."""
    data = service.log.read("checkpoint")
    if not data:
        raise Problem("not_ready", "the log has no checkpoint to show")
    headers = {"cache-control": NEVER_KEPT, "x-content-type-options": "nosniff"}
    return Response(data, media_type=TEXT, headers=headers)


@tiles.get("/tile/{place:path}", response_class=Response, responses=problem_responses(404))
@tiles.head("/tile/{place:path}", include_in_schema=False)
def get_tile(place: str, service: ServiceDep) -> Response:
    """Return a tile of hashes or a bundle of entries (c2sp.org/tlog-tiles)."""
    named = parse_tile_path(f"tile/{place}")
    data = service.log.read(tile_path(*named)) if named else None
    if data is None:
        raise Problem("not_found", "no such tile in this log")
    return WholeResponse(data, cache=IMMUTABLE, media_type=BINARY)


@proofs.get("/{cid}/proof", response_class=Response, responses=problem_responses(400, 404))
@proofs.head("/{cid}/proof", include_in_schema=False)
def get_proof(cid: CidDep, service: ServiceDep, receipt: NamedReceipt = None) -> Response:
    """Return the proof that a receipt of the artifact, the newest unless named, is in the log."""
    wanted = _wanted(cid, receipt, service)
    data = service.log.proof(receipt_entry(cid, wanted)) if wanted else None
    if data is None:
        raise Problem("not_found", f"no proof about the artifact {cid} here", cid=cid)
    return WholeResponse(data, cache=REVALIDATE, media_type=TEXT)


@proofs.get("/{cid}/summary", response_class=Response, responses=problem_responses(400, 404, 503))
@proofs.head("/{cid}/summary", include_in_schema=False)
def get_summary(cid: CidDep, service: ServiceDep, receipt: NamedReceipt = None) -> Response:
    """Return the registry's own signed summary of how it verified a receipt, the newest unless named."""
    wanted = _wanted(cid, receipt, service)
    data = service.summaries.read(wanted, revoked=_revoked(cid, wanted, service)) if wanted else None
    if data is None:
        raise Problem("not_found", f"no summary about the artifact {cid} here", cid=cid)
    return WholeResponse(data, cache=REVALIDATE, media_type=JSON)


def _wanted(cid: CID, receipt: str | None, service: Service) -> CID | None:
    """Return the named receipt of an artifact, or its newest; None if it has no such one."""
    known = [item.cid for item in service.index.receipts_of(cid)]
    wanted = parse_cid(receipt) if receipt else CID(known[0]) if known else None
    return wanted if wanted in known else None


def _revoked(artifact: CID, receipt: CID, service: Service) -> datetime | None:
    """Return since when an accepted receipt no longer counts here (envelope.md 4), or None."""
    trust = service.trust()
    if found := trust.revoked(artifact):
        return found.at
    place = service.log.index_of(receipt_entry(artifact, receipt))
    for keyid in sorted(_signing(receipt, service)):
        found = trust.revoked(keyid)
        if found and not found.spares(place, log=service.log.key):
            return found.at
    return None


def _signing(receipt: CID, service: Service) -> set[str]:
    """Return the keys that signed an accepted receipt. Raises Problem `internal` if it is gone."""
    envelopes = _envelopes(receipt, service)
    if not envelopes:
        raise Problem("internal", f"{receipt} is in the index, but its bytes are gone", cid=receipt)
    return {row["keyid"] for envelope in envelopes for row in envelope.get("signatures", [])}


@keys.get("")
def get_keys(service: ServiceDep) -> Keys:
    """Return the public halves of the keys that this registry signs with."""
    summary = service.summaries.public
    return Keys(log=service.log.key.vkey, summary=summary.pem(), summary_id=summary.key_id)


@revocations.post("", status_code=201, responses=problem_responses(413, 422, 503, 507))
async def post_revocation(request: Request, service: ServiceDep) -> Revoked:
    """Check a signed revocation, log it, and from then on go by it."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                raise Problem(
                    "too_large", f"a revocation has at most {MAX_BYTES} bytes", limit_bytes=MAX_BYTES
                )
    except ClientDisconnect as err:
        raise Problem("bad_request", "the client went away in the middle of the revocation") from err
    return await run_in_threadpool(_revoke, bytes(body), service)


def _revoke(envelope: bytes, service: Service) -> Revoked:
    trust = service.trust()
    try:
        found = open_revocation(envelope, trust, signers=lambda cid: _signers(cid, trust, service))
    except CheckedError as err:
        raise Problem("revocation_refused", err.message, hint=err.hint, check=err.check) from err
    cid = cid_of(envelope)
    with staging(service.settings.incoming) as folder:
        path = folder / secrets.token_hex(8)
        path.write_bytes(envelope)
        service.blobs.put(path, cid=cid)
    service.index.keep_blob(cid, size_bytes=len(envelope))
    said = found.predicate
    revokes = {"keyid": said.keyid} if said.keyid else {"artifact": found.subject}
    _note(found, service)  # before the log, which may fail: what its owner gave up must not count meanwhile
    place = service.log.add(revocation_entry(revokes, statement=found.sha256))
    _note(found, service, index=place)
    return Revoked(statement=found.sha256, envelope=cid, log=Logged(index=place, size=service.log.size))


def _note(found: SignedRevocation, service: Service, *, index: int | None = None) -> None:
    """Write a revocation into the trust directory, with its place in this registry's own log."""
    log = None if index is None else service.log.key
    revoke(service.settings.trust, found.subject, found.predicate.reason, index=index, log=log)


def _signers(cid: CID, trust: TrustStore, service: Service) -> set[str]:
    """Return the trusted keys that signed an accepted receipt of an artifact."""
    found: set[str] = set()
    for item in service.index.receipts_of(cid):
        for envelope in _envelopes(CID(item.cid), service):
            with suppress(CheckedError):  # a key that was trusted once, and whose owner has no say now
                found.add(open_envelope(envelope, trust.timeless()).keyid)
    return found


def _envelopes(receipt: CID, service: Service) -> list[Any]:
    """Return the envelopes of an accepted receipt."""
    path = service.blobs.locate(receipt)
    return list(parse_canonical(path.read_bytes(), what="receipt")["envelopes"]) if path else []
