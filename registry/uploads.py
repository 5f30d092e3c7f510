"""One upload on its way in: a multipart body, streamed into a private directory with limits.

The parts and their order are free (specs/formats/registry-api.md 2); an unknown or repeated part is
refused by name. The artifact goes to a file while its SHA-256 is computed; nothing here trusts it.
"""

import hashlib
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from kolm.cid import CID, cid_of, cid_of_digest
from kolm.files import make_folder, refusal, staging
from registry.problems import Problem
from registry.settings import RegistrySettings

FORM_OVERHEAD_BYTES = 64 * 1024
"""Room for boundaries, part headers and the short fields."""

FIELD_BYTES = 1024
FEED_BYTES = 1024 * 1024
STALE_SECONDS = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A complete upload: nothing in it has been verified."""

    directory: Path
    """Private to this upload; removed when it is over."""
    artifact: Path
    cid: CID
    """Of the artifact's bytes as they came in."""
    size_bytes: int
    receipt: bytes
    receipt_cid: CID
    claimed: str | None
    """The CID that the client says the artifact has."""
    allow_failed: bool


class _Memory:
    """Collects a short part."""

    def __init__(self, name: str, limit: int) -> None:
        self.name, self.limit = name, limit
        self.data = bytearray()

    def write(self, chunk: memoryview) -> None:
        if len(self.data) + len(chunk) > self.limit:
            raise _too_large(self.name, self.limit)
        self.data += chunk


class _File:
    """Writes a long part to a file and hashes it on the way."""

    def __init__(self, name: str, limit: int, handle: BinaryIO) -> None:
        self.name, self.limit, self.handle = name, limit, handle
        self.size_bytes = 0
        self.digest = hashlib.sha256()

    def write(self, chunk: memoryview) -> None:
        self.size_bytes += len(chunk)
        if self.size_bytes > self.limit:
            raise _too_large(self.name, self.limit)
        self.digest.update(chunk)
        self.handle.write(chunk)


class _Form:
    """Sorts the parts of a multipart body into their sinks (RFC 7578)."""

    def __init__(self, boundary: bytes, *, sinks: Sequence[_Memory | _File]) -> None:
        self._sinks = {sink.name: sink for sink in sinks}
        self._header = bytearray()
        self._value = bytearray()
        self._sink: _Memory | _File | None = None
        self.seen: set[str] = set()
        self.ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body. Raises Problem."""
        try:
            self._parser.write(chunk)
        except FormParserError as err:
            raise Problem("malformed_upload", f"the multipart body cannot be read: {err}") from err

    def _begin(self) -> None:
        self._sink = None
        self._header.clear()
        self._value.clear()

    def _header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._choose(options.get(b"name", b"").decode("utf-8", "replace"))
        self._header.clear()
        self._value.clear()

    def _choose(self, name: str) -> None:
        if name not in self._sinks:
            known = ", ".join(self._sinks)
            raise Problem("malformed_upload", f"unknown part {name[:64]!r}; the parts are {known}")
        if name in self.seen:
            raise Problem("malformed_upload", f"part {name!r} is there twice")
        self.seen.add(name)
        self._sink = self._sinks[name]

    def _headers_finished(self) -> None:
        if self._sink is None:
            raise Problem("malformed_upload", "a part has no name")

    def _data(self, data: bytes, start: int, end: int) -> None:
        assert self._sink is not None  # noqa: S101 - _headers_finished has refused nameless parts
        self._sink.write(memoryview(data)[start:end])

    def _end(self) -> None:
        self.ended = True


@asynccontextmanager
async def receive(request: Request, settings: RegistrySettings) -> AsyncIterator[Upload]:
    """Stream the request's body in and yield the upload; its directory is removed at the end.

    Raises Problem, StorageError.
    """
    boundary = _boundary(request)
    _refuse_long(request, settings)
    with staging(settings.incoming) as directory:
        yield await _read(request, boundary, directory, settings)


def sweep(incoming: Path) -> None:
    """Make the folder of uploads, and remove what crashed uploads left there a day ago or more.

    Raises StorageError.
    """
    make_folder(incoming, mode=0o700)
    try:
        for left in incoming.iterdir():
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    except OSError as err:
        raise refusal(err, action="use", path=incoming) from err


async def _read(request: Request, boundary: bytes, directory: Path, settings: RegistrySettings) -> Upload:
    path = directory / "artifact.kolm"
    receipt = _Memory("receipt", settings.max_receipt_bytes)
    claimed, allow_failed = _Memory("cid", FIELD_BYTES), _Memory("allow_failed", FIELD_BYTES)
    with path.open("wb") as handle:
        artifact = _File("artifact", settings.max_artifact_bytes, handle)
        form = _Form(boundary, sinks=(artifact, receipt, claimed, allow_failed))
        await _drain(request, form, limit=_body_limit(settings))
    _require_complete(form)
    return Upload(
        directory=directory,
        artifact=path,
        cid=cid_of_digest(artifact.digest.digest()),
        size_bytes=artifact.size_bytes,
        receipt=bytes(receipt.data),
        receipt_cid=cid_of(bytes(receipt.data)),
        claimed=claimed.data.decode("utf-8", "replace") if "cid" in form.seen else None,
        allow_failed=_flag(allow_failed.data),
    )


async def _drain(request: Request, form: _Form, *, limit: int) -> None:
    """Feed the body to the form in a thread: hashing and a slow disk must not hold up other requests."""
    received, waiting = 0, bytearray()
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                raise _too_large("the upload", limit)
            waiting += chunk
            if len(waiting) >= FEED_BYTES:
                await run_in_threadpool(form.feed, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(form.feed, bytes(waiting))
    except ClientDisconnect as err:
        raise Problem("malformed_upload", "the client went away in the middle of the upload") from err


def _require_complete(form: _Form) -> None:
    if not form.ended:
        raise Problem("malformed_upload", "the multipart body ends before its last boundary")
    missing = {"artifact", "receipt"} - form.seen
    if missing:
        raise Problem("malformed_upload", f"missing part: {', '.join(sorted(missing))}")


def _boundary(request: Request) -> bytes:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if media_type != b"multipart/form-data" or not boundary:
        raise Problem("unsupported_media_type", "uploads are multipart/form-data with a boundary")
    if len(boundary) > 70:  # RFC 2046 5.1.1
        raise Problem("malformed_upload", "the multipart boundary is longer than 70 characters")
    return boundary


def _refuse_long(request: Request, settings: RegistrySettings) -> None:
    """Refuse by Content-Length before reading; bodies without one are counted as they come."""
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length[:20]) > _body_limit(settings):
        raise _too_large("the upload", _body_limit(settings))


def _body_limit(settings: RegistrySettings) -> int:
    return settings.max_artifact_bytes + settings.max_receipt_bytes + FORM_OVERHEAD_BYTES


def _flag(data: bytearray) -> bool:
    values = {b"": False, b"false": False, b"true": True}
    if bytes(data) not in values:
        raise Problem("malformed_upload", "allow_failed is true or false")
    return values[bytes(data)]


def _too_large(what: str, limit: int) -> Problem:
    return Problem("too_large", f"{what} is larger than {limit} bytes", limit_bytes=limit)
