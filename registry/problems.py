"""Every error the registry answers with: RFC 9457 problem+json, `type` from a closed list.

The slugs and what they mean stand in specs/formats/registry-api.md 7.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from kolm.errors import ArtifactError, KolmError, RegistryError, StorageError
from registry.schemas import ProblemDocument

MEDIA_TYPE = "application/problem+json"

LOG = logging.getLogger("kolm.registry")
_LOG_HINT = "the registry's log has the details; tell whoever runs it"

SLUGS: Mapping[str, tuple[int, str]] = {
    "malformed_upload": (400, "The upload is not what this endpoint takes"),
    "bad_cid": (400, "Not a CID of this registry's profile"),
    "bad_cursor": (400, "Not a cursor this registry gave out"),
    "bad_request": (400, "The request cannot be read"),
    "not_found": (404, "Not here"),
    "method_not_allowed": (405, "Not a method of this address"),
    "too_large": (413, "Larger than this registry takes"),
    "unsupported_media_type": (415, "Not a media type this endpoint takes"),
    "range_not_satisfiable": (416, "The range lies outside the bytes"),
    "cid_mismatch": (422, "The bytes have another CID than the one claimed"),
    "verification_failed": (422, "Verification failed; nothing was stored"),
    "revocation_refused": (422, "Not a revocation that counts; nothing was logged"),
    "gate_not_passed": (422, "The receipt's gate verdict is not PASS; nothing was stored"),
    "invalid_request": (422, "A parameter is missing or has a value that is not allowed"),
    "internal": (500, "The registry failed"),
    "not_ready": (503, "The registry cannot serve now"),
    "insufficient_storage": (507, "The registry could not write to its disk"),
}
"""Slug -> HTTP status and title. Closed: a slug that is not here is never sent."""

_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}


class Problem(RegistryError):
    """A request that is refused, with the slug that says why and members that say more."""

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail, hint=hint)
        self.slug = slug
        self.status, self.title = SLUGS[slug]
        self.headers = headers
        self.members = members


def answer(problem: Problem) -> JSONResponse:
    """Return the HTTP response for `problem` (RFC 9457 3)."""
    body = {
        "type": f"urn:kolm:problem:{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.message,
    }
    if problem.hint:
        body["hint"] = problem.hint
    headers = {"Cache-Control": "no-store", **(problem.headers or {})}
    return JSONResponse(
        body | problem.members, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE
    )


def problem_of(error: KolmError) -> Problem:
    """Translate an error of the lower layers that reached a route.

    What is wrong with this machine goes to its log; its paths are nobody else's business.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, ArtifactError) and error.check.startswith("E_CID_"):
        return Problem("bad_cid", error.message, hint=error.hint, check=error.check)
    LOG.error("%s: %s", type(error).__name__, error.message, exc_info=error)
    if isinstance(error, StorageError):
        return Problem("insufficient_storage", "what came in could not be kept", hint=_LOG_HINT)
    return Problem("internal", "the registry could not do this", hint=_LOG_HINT)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI descriptions of the problem answers with these statuses."""
    return {
        status: {
            "model": ProblemDocument,
            "description": " or ".join(slug for slug, (each, _) in SLUGS.items() if each == status),
        }
        for status in statuses
    }


class ProblemAPI(FastAPI):
    """A FastAPI application whose OpenAPI document gives problems their media type."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        operations = [op for path in document["paths"].values() for op in path.values()]
        answers = [each for op in operations for status, each in op["responses"].items() if status >= "400"]
        for content in (each["content"] for each in answers if "application/json" in each["content"]):
            content[MEDIA_TYPE] = content.pop("application/json")
        return document


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document, those of the framework included."""
    app.exception_handler(KolmError)(_on_kolm_error)
    app.exception_handler(RequestValidationError)(_on_invalid_request)
    app.exception_handler(HTTPException)(_on_http_error)
    app.exception_handler(HTTPStatus.INTERNAL_SERVER_ERROR)(_on_bug)


async def _on_kolm_error(_request: Request, error: KolmError) -> JSONResponse:
    return answer(problem_of(error))


async def _on_invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
    errors = [
        {"where": ".".join(str(step) for step in each["loc"]), "message": each["msg"]}
        for each in error.errors()
    ]
    detail = "; ".join(f"{each['where']}: {each['message']}" for each in errors)
    return answer(Problem("invalid_request", detail, errors=errors))


async def _on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    slug = _OF_STATUS.get(error.status_code, "bad_request" if error.status_code < 500 else "internal")
    detail = f"{request.method} {request.url.path[:200]}: {error.detail}"
    headers = {"Allow": _allowed(request)} if slug == "method_not_allowed" else error.headers
    return answer(Problem(slug, detail, headers=headers))


def _allowed(request: Request) -> str:
    """Return the methods of this address (RFC 9110 15.5.6); the framework names those of one route only."""
    routes: list[BaseRoute] = request.app.routes
    scopes = {method: {**request.scope, "method": method} for method in ("GET", "HEAD", "POST")}
    fits = [m for m, scope in scopes.items() if any(r.matches(scope)[0] is Match.FULL for r in routes)]
    return ", ".join(fits)


async def _on_bug(_request: Request, _error: Exception) -> JSONResponse:
    return answer(Problem("internal", "an unexpected error", hint=_LOG_HINT))
