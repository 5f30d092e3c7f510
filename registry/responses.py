"""Answers made of bytes: named by their CID, never interpreted by a browser; stored ones are resumable."""

import re
from pathlib import Path
from typing import Any

from fastapi.responses import FileResponse, Response
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from kolm.cid import CID, cid_of
from registry.problems import Problem, answer

IMMUTABLE = "public, max-age=31536000, immutable"
"""For addresses that name bytes by CID."""

REVALIDATE = "no-cache"
"""For addresses whose answer may change, such as the newest receipt."""

_SINGLE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class BlobResponse(FileResponse):
    """The bytes of one blob, with its CID as entity tag.

    One byte range per request is served; several at once, or a unit that is not bytes, are ignored as
    RFC 9110 14.2 allows.
    """

    def __init__(self, path: Path, *, cid: CID, cache: str, media_type: str, filename: str) -> None:
        self.tag = f'"{cid}"'
        headers = {"etag": self.tag, "cache-control": cache, "x-content-type-options": "nosniff"}
        super().__init__(
            path, headers=headers, media_type=media_type, filename=filename, stat_result=path.stat()
        )
        del self.headers["last-modified"]  # the time of the upload says nothing about the bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the bytes, the range that is asked for, or why not."""
        headers = Headers(scope=scope)
        if _named(self.tag, headers.get("if-none-match")):
            await _unchanged(self)(scope, receive, send)
            return
        wanted = headers.get("range") if scope["method"] == "GET" else None
        size = int(self.headers["content-length"])
        if wanted is None or not _usable(wanted):
            await super().__call__(_without_range(scope), receive, send)
        elif _first_byte(wanted, size=size) >= size and headers.get("if-range", self.tag) == self.tag:
            await answer(_outside(wanted, size))(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def _should_use_range(self, http_if_range: str) -> bool:
        return http_if_range == self.tag


class WholeResponse(Response):
    """Bytes that are sent whole or not at all, with their CID as entity tag."""

    def __init__(self, data: bytes, *, cache: str, media_type: str) -> None:
        self.tag = f'"{cid_of(data)}"'
        headers = {"etag": self.tag, "cache-control": cache, "x-content-type-options": "nosniff"}
        super().__init__(data, headers=headers, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the bytes, or that they are those which the client has."""
        if _named(self.tag, Headers(scope=scope).get("if-none-match")):
            await _unchanged(self)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _unchanged(answer: Response) -> Response:
    kept = {key: answer.headers[key] for key in ("etag", "cache-control")}
    return Response(status_code=304, headers=kept)


def _named(tag: str, condition: str | None) -> bool:
    """Return whether an If-None-Match header names `tag` (RFC 9110 13.1.2, weak comparison)."""
    if condition is None:
        return False
    tags = [each.strip().removeprefix("W/") for each in condition.split(",")]
    return tag in tags or tags == ["*"]


def _usable(wanted: str) -> bool:
    match = _SINGLE_RANGE.fullmatch(wanted.strip())
    if match is None or match.groups() == ("", ""):
        return False
    first, last = match.groups()
    return not (first and last) or int(first) <= int(last)


def _first_byte(wanted: str, *, size: int) -> int:
    """Return where a usable range starts; an empty suffix starts behind the end."""
    first, _, last = wanted.strip().removeprefix("bytes=").partition("-")
    return int(first) if first else max(size - int(last), 0)


def _outside(wanted: str, size: int) -> Problem:
    return Problem(
        "range_not_satisfiable",
        f"{wanted}: there are {size} bytes",
        headers={"Content-Range": f"bytes */{size}"},
    )


def _without_range(scope: Scope) -> dict[str, Any]:
    headers = [(key, value) for key, value in scope["headers"] if key != b"range"]
    return {**scope, "headers": headers}
