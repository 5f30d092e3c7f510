"""The addresses of the registry (specs/formats/registry-api.md 1); bytes are answered from bytes."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from kolm.cid import CID, parse_cid
from kolm.errors import StorageError
from registry.ingest import Service, store
from registry.problems import LOG, Problem, problem_responses
from registry.responses import IMMUTABLE, REVALIDATE, BlobResponse, WholeResponse
from registry.schemas import ArtifactPage, ArtifactQuery, ReceiptList, Status, Stored
from registry.uploads import receive

BINARY = "application/octet-stream"
JSON = "application/json"


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _cid(cid: str) -> CID:
    return parse_cid(cid)


ServiceDep = Annotated[Service, Depends(_service)]
CidDep = Annotated[CID, Depends(_cid)]

_BYTES: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"content": {BINARY: {}}}, **problem_responses(400, 404, 416)},
}
_UPLOAD_FORM = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["artifact", "receipt"],
                "properties": {
                    "artifact": {"type": "string", "format": "binary"},
                    "receipt": {"type": "string", "format": "binary"},
                    "cid": {"type": "string", "description": "CID that the artifact must have"},
                    "allow_failed": {"type": "string", "enum": ["true", "false"]},
                },
                "additionalProperties": False,
            }
        }
    },
}

artifacts = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])
objects = APIRouter(prefix="/v1", tags=["objects"])
health = APIRouter(tags=["health"])


@artifacts.post(
    "",
    response_model=Stored,
    status_code=201,
    responses={
        200: {"model": Stored, "description": "Known already"},
        **problem_responses(400, 413, 415, 422, 503, 507),
    },
    openapi_extra={"requestBody": _UPLOAD_FORM},
)
async def upload_artifact(request: Request, service: ServiceDep) -> JSONResponse:
    """Verify an artifact with its receipt, then store both."""
    async with receive(request, service.settings) as upload:
        stored = await run_in_threadpool(store, upload, service=service)
    return JSONResponse(
        stored.model_dump(),
        status_code=201 if stored.created else 200,
        headers={"Location": f"/v1/artifacts/{stored.cid}"},
    )


@artifacts.get("", responses=problem_responses(400, 422))
def search_artifacts(query: Annotated[ArtifactQuery, Query()], service: ServiceDep) -> ArtifactPage:
    """List artifacts, newest upload first; every condition that is given must hold."""
    return service.index.search(query)


@artifacts.get("/{cid}", **_BYTES)
@artifacts.head("/{cid}", include_in_schema=False)
def get_artifact(cid: CidDep, service: ServiceDep) -> Response:
    """Return the artifact's bytes."""
    if not service.index.is_artifact(cid):
        raise _missing(cid, "artifact")
    return _bytes(service, cid, filename=f"{cid}.kolm")


@artifacts.get("/{cid}/receipt", **_BYTES)
@artifacts.head("/{cid}/receipt", include_in_schema=False)
def get_newest_receipt(cid: CidDep, service: ServiceDep) -> Response:
    """Return the newest accepted receipt's bytes; its CID is the entity tag."""
    newest = CID(_receipts(service, cid).items[0].cid)
    return _bytes(service, newest, media_type=JSON, cache=REVALIDATE, filename=f"{cid}.receipt.json")


@artifacts.get("/{cid}/receipts", responses=problem_responses(400, 404))
def list_receipts(cid: CidDep, service: ServiceDep) -> ReceiptList:
    """List the artifact's receipts, newest accepted first."""
    return _receipts(service, cid)


@artifacts.get("/{cid}/modules", **_BYTES)
@artifacts.head("/{cid}/modules", include_in_schema=False)
def get_modules_of(cid: CidDep, service: ServiceDep) -> Response:
    """Return the artifact's module manifest: what was frozen and what was trained."""
    modules = service.index.modules_of(cid)
    if modules is None:
        raise _missing(cid, "artifact")
    return _bytes(service, modules, media_type=JSON, filename=f"{cid}.modules.json")


@artifacts.get("/{cid}/kscore", response_class=Response, responses=problem_responses(400, 404))
def get_kscore(cid: CidDep, service: ServiceDep) -> Response:
    """Return the `k_score` of the newest accepted receipt."""
    newest = CID(_receipts(service, cid).items[0].cid)
    said = service.index.kscore_of(newest) or b""
    return WholeResponse(said, cache=REVALIDATE, media_type=JSON)


@objects.get("/receipts/{cid}", **_BYTES)
@objects.head("/receipts/{cid}", include_in_schema=False)
def get_receipt(cid: CidDep, service: ServiceDep) -> Response:
    """Return a receipt's bytes."""
    if not service.index.is_receipt(cid):
        raise _missing(cid, "receipt")
    return _bytes(service, cid, media_type=JSON, filename=f"{cid}.receipt.json")


@objects.get("/modules/{cid}", **_BYTES)
@objects.head("/modules/{cid}", include_in_schema=False)
def get_modules(cid: CidDep, service: ServiceDep) -> Response:
    """Return a module manifest's bytes."""
    if not service.index.is_modules(cid):
        raise _missing(cid, "module manifest")
    return _bytes(service, cid, media_type=JSON, filename=f"{cid}.modules.json")


@objects.get("/blobs/{cid}", **_BYTES)
@objects.head("/blobs/{cid}", include_in_schema=False)
def get_blob(cid: CidDep, service: ServiceDep) -> Response:
    """Return whatever bytes have this CID."""
    if not service.index.holds(cid):
        raise _missing(cid, "blob")
    return _bytes(service, cid, filename=cid)


@health.get("/healthz")
def is_alive() -> Status:
    """Say that the process answers."""
    return Status()


@health.get("/readyz", responses=problem_responses(503))
def is_ready(service: ServiceDep) -> Status:
    """Say that the index answers, the trust directory can be read, and blobs and log can be written."""
    service.index.check()
    service.trust()
    try:
        service.blobs.check()
        service.log.check()
    except StorageError as err:
        LOG.error("blobs or log cannot be written: %s", err.message)
        raise Problem("not_ready", "blobs or log cannot be written") from err
    return Status()


def _receipts(service: Service, cid: CID) -> ReceiptList:
    items = service.index.receipts_of(cid)
    if not items:
        raise _missing(cid, "artifact")
    return ReceiptList(items=items)


def _bytes(
    service: Service, cid: CID, *, filename: str, media_type: str = BINARY, cache: str = IMMUTABLE
) -> BlobResponse:
    path = service.blobs.locate(cid)
    if path is None:
        raise Problem("internal", f"{cid} is in the index, but its bytes are gone", cid=cid)
    return BlobResponse(path, cid=cid, cache=cache, media_type=media_type, filename=filename)


def _missing(cid: CID, what: str) -> Problem:
    return Problem("not_found", f"no {what} with the CID {cid} here", cid=cid)
